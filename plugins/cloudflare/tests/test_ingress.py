from __future__ import annotations

from typing import Any

import pytest
from cloudflare_kit import recordings
from prx_tunnel_cloudflare.ingress import read_ingress

from prx_tunnel_core.backend import Target

TARGET = Target("127.0.0.1", 9999)


def pushed(*rules: dict[str, Any], version: Any = 7) -> Any:
    return read_ingress({"version": version, "config": {"ingress": list(rules)}})


def rule(
    hostname: str = "", service: str = "http://127.0.0.1:9999", path: str | None = None
) -> Any:
    return {"hostname": hostname, "service": service, "path": path}


def test_as_recorded() -> None:
    answer = recordings.runs("c02-named-token-success-auto-text")[0].last_answer("/config")
    ingress = read_ingress(answer)
    assert (ingress.version, ingress.pushed) == (8, True)
    assert ingress.public_hostname(TARGET) == "new.example.com"
    assert ingress.problem("app.example.com", TARGET) is None
    assert ingress.problem("foo.wild.example.com", TARGET) is None
    assert "no route" in str(ingress.problem("unknown.example.com", TARGET))


def test_what_is_reported_stands_beside_what_is_configured() -> None:
    ingress = pushed(
        rule("a.example.com"), rule("a.example.com", path="/x"), rule("*.b.example.com"),
        rule("c.example.com\x1b[2J"), rule(service="http_status:404"),
    )  # fmt: skip
    assert ingress.problem("old.example.com", TARGET) == (
        "the tunnel has no route for old.example.com (cloudflared reports a.example.com, "
        "*.b.example.com, c.example.com); add one in Cloudflare's dashboard, or correct "
        "tunnel.cloudflare.hostname here"
    )
    seven = pushed(*(rule(f"{n}.example.com") for n in range(7)))
    assert "4.example.com and 2 more)" in str(seven.problem("old.example.com", TARGET))
    none = pushed(rule(service="http_status:404"))
    assert "(cloudflared reports no host name)" in str(none.problem("old.example.com", TARGET))


def test_not_pushed() -> None:
    ingress = pushed(rule("app.example.com", "http://127.0.0.1:1"), version=-1)
    assert not ingress.pushed
    assert ingress.problem("app.example.com", TARGET) is None


def test_a_name_that_leads_here_is_preferred() -> None:
    ingress = pushed(rule("a.example.com", "http://localhost:1"), rule("b.example.com"))
    assert ingress.public_hostname(TARGET) == "b.example.com"
    assert ingress.public_hostname(Target("127.0.0.1", 1)) == "a.example.com"
    assert ingress.public_hostname(Target("127.0.0.1", 2)) == "a.example.com"


@pytest.mark.parametrize(
    "hostname",
    [
        "", "*", "*.example.com", "app.*.com", "localhost", "192.0.2.1", "[::1]", "a b.example.com",
        "app.example.com/path", "https://app.example.com", "user@app.example.com", "-a.example.com",
        "app.example.com:443", "app..example.com", "\u0430pp.example.com", "app.example.com\n",
        "app.example.com?x", "app.example.com#x", "app.example.com\\.evil.test", ".", "..",
        "a" * 300,
    ],
)  # fmt: skip
def test_what_is_no_public_name(hostname: str) -> None:
    assert pushed(rule(hostname)).public_hostname(TARGET) is None
    assert pushed(rule(hostname), rule("b.example.com")).public_hostname(TARGET) == "b.example.com"


def test_a_path_is_not_the_whole_host() -> None:
    ingress = pushed(rule("a.example.com", path="^/v1"), rule("a.example.com", "http://x:1"))
    assert ingress.public_hostname(TARGET) == "a.example.com"
    assert "http://x:1" in str(ingress.problem("a.example.com", TARGET))


@pytest.mark.parametrize(
    ("service", "port"),
    [
        ("http://127.0.0.1:9999", 9999),
        ("http://localhost:9999", 9999),
        ("https://[::1]:9999", 9999),
        ("http://my-machine.lan:9999", 9999),
        ("http://localhost", 80),
        ("https://localhost/", 443),
    ],
)
def test_services_that_lead_to_the_port(service: str, port: int) -> None:
    ingress = pushed(rule("a.example.com", service))
    assert ingress.problem("a.example.com", Target("127.0.0.1", port)) is None


@pytest.mark.parametrize(
    "service",
    [
        "http://127.0.0.1:9998",
        "unix:/run/x.sock",
        "hello_world",
        "http://x:99999999",
        "http://[",
        "",
    ],
)
def test_services_that_do_not(service: str) -> None:
    assert "not to port 9999" in str(
        pushed(rule("a.example.com", service)).problem("a.example.com", TARGET)
    )


@pytest.mark.parametrize("service", ["http_status:404", "http_status:503"])
def test_a_fixed_answer_is_no_route(service: str) -> None:
    assert "no route" in str(pushed(rule(service=service)).problem("a.example.com", TARGET))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"version": 7},
        {"version": 7, "config": None},
        {"version": 7, "config": []},
        {"version": 7, "config": {"ingress": None}},
        {"version": 7, "config": {"ingress": {"hostname": "a.example.com"}}},
        {"version": 7, "config": {"ingress": [None, 1, "a.example.com", []]}},
        {"version": "7", "config": {"ingress": [{"hostname": ["a.example.com"]}]}},
    ],
)
def test_other_shapes_name_nothing(answer: dict[str, Any]) -> None:
    assert read_ingress(answer).public_hostname(TARGET) is None
