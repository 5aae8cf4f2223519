"""What an answer of the public URL says about the tunnel: the backend decides, then the status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from prx_tunnel_core import Backend, BackendConfig, Check, Connection, PluginError, Target
from prx_tunnel_core._health import Prober
from prx_tunnel_core._health.probe import judge_response
from prx_tunnel_core.models import Verdict
from support.faults import tunnel_to
from support.http_server import OK, hangs, says, serve, status
from support.probing import SETTLED, without_proxies


@asynccontextmanager
async def never(_config: BackendConfig, _target: Target) -> AsyncIterator[Connection]:
    raise NotImplementedError
    yield


def third_party(classify: Any = None, **fields: Any) -> Backend[Any]:
    return Backend(
        name="bore",
        summary="of a third party",
        config=BackendConfig,
        connect=never,
        classify_response=classify,
        **fields,
    )


def edge(status: int, headers: Mapping[str, str]) -> Check | None:
    """As a third party writes it."""
    if headers.get("x-bore") == "gone":
        return Check("edge", "fail", f"bore has lost the tunnel\x1b[31m (HTTP {status})")
    return None


def judged(status: int, backend: Backend[Any] | None = None, **headers: str) -> tuple[str, str]:
    return judge_response(backend, status, {k.replace("_", "-"): v for k, v in headers.items()})


# --- by the status alone ------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [None, third_party(), third_party(edge)])
@pytest.mark.parametrize("status", [200, 204, 301, 302, 308, 400, 401, 403, 404, 405, 418, 429])
def test_f08_any_answer_of_the_application_is_reachable(
    status: int, backend: Backend[Any] | None
) -> None:
    assert judged(status, backend) == ("ok", f"HTTP {status}")
    assert judged(status, backend, server="cloudflare") == ("ok", f"HTTP {status}")


@pytest.mark.parametrize("status", [500, 501, 505, 520, 530, 599])
def test_f08_also_one_that_says_it_is_broken(status: int) -> None:
    assert judged(status, server="nginx") == ("ok", f"HTTP {status}")


@pytest.mark.parametrize("status", [502, 503, 504])
def test_f09_what_a_proxy_on_the_way_may_have_said_is_unknown(status: int) -> None:
    verdict, reason = judged(status)
    assert verdict == "unknown"
    assert f"HTTP {status}" in reason


@pytest.mark.parametrize("status", [407, 511])
def test_f07_a_network_that_wants_a_login_is_not_the_tunnel(status: int) -> None:
    assert judged(status)[0] == "unknown"


def test_core_knows_no_provider() -> None:
    for headers in ({"server": "cloudflare"}, {"ngrok-error-code": "ERR_NGROK_3200"}):
        for code in (404, 521, 530):
            assert judge_response(None, code, headers) == ("ok", f"HTTP {code}")


# --- by the backend -----------------------------------------------------------------------------


def test_a_third_partys_backend_recognises_its_providers_pages() -> None:
    verdict, reason = judged(200, third_party(edge), x_bore="gone")
    assert (verdict, reason) == ("fail", "bore has lost the tunnel (HTTP 200)")
    assert judged(503, third_party(edge))[0] == "unknown"


@pytest.mark.parametrize("verdict", ["ok", "fail", "unknown"])
def test_its_verdict_counts_before_the_status(verdict: Verdict) -> None:
    backend = third_party(lambda *_: Check("any name", verdict, "says so"))
    for code in (200, 404, 502, 511):
        assert judged(code, backend) == (verdict, "says so")


def test_its_reason_is_bounded() -> None:
    _, reason = judged(200, third_party(lambda *_: Check("x", "fail", "x" * 100_000)))
    assert len(reason) <= 300


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (True, "True is not a Check"),
        (Check("x", "green"), "is not a Check"),  # type: ignore[arg-type]
        (LookupError("in the middle"), "LookupError: in the middle"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_one_that_fails_says_nothing_about_the_tunnel(
    returned: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    def classify(_status: int, _headers: Mapping[str, str]) -> Any:
        if isinstance(returned, BaseException):
            raise returned
        return returned

    verdict, said = judged(200, third_party(classify))
    assert verdict == "unknown"
    assert said.startswith("classify_response of backend 'bore' failed: ")
    assert reason in said
    assert reason in caplog.text


@pytest.mark.parametrize("classify", [1, "edge", {}])
def test_what_cannot_be_called_is_refused_with_the_descriptor(classify: object) -> None:
    with pytest.raises(PluginError, match=r"Backend 'bore': classify_response is not callable"):
        third_party(classify)


# --- by its probe -------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_tunnel_asks_the_backend_that_opened_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """All the way from `Backend` to the health of the tunnel, without a prober of the test's."""
    without_proxies(monkeypatch)
    asked: list[tuple[int, str]] = []

    def classify(code: int, headers: Mapping[str, str]) -> Check | None:
        asked.append((code, headers["x-bore"]))
        return edge(code, headers)

    fields = {"classify_response": classify, "probe_headers": {"X-Bore-Skip": "yes"}}
    page = status("404 Not Found", X_Bore="gone")
    async with (
        serve(page) as server,
        serve(hangs) as app,
        tunnel_to(server.url, app.port, fields=fields) as tunnel,
    ):
        await tunnel.start()
        with anyio.fail_after(20):
            health = await tunnel.health_check()
    assert asked == [(404, "gone")]
    public = health.check("public")
    assert public is not None
    assert public.verdict == "fail"
    assert public.detail.startswith("bore has lost the tunnel (HTTP 404)")
    assert b"x-bore-skip: yes\r\n" in server.requests[0].lower()


@pytest.mark.anyio
async def test_its_headers_do_not_replace_the_probes_own(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxies(monkeypatch)
    prober = Prober(backend=third_party(probe_headers={"User-Agent": "a browser", "X-Own": "1"}))
    async with serve(says(OK)) as server:
        await prober.public(server.url, connected_for=SETTLED)
    await prober.aclose()
    head = server.requests[0].decode().lower()
    assert "user-agent: prx-tunnel (health check)\r\n" in head
    assert "x-own: 1\r\n" in head
    assert "a browser" not in head


@pytest.mark.parametrize("headers", [None, ["x-a"], {"x-a": 1}, {1: "x"}, {"x-a": "1\r\nx-b: 2"}])
def test_headers_that_no_request_can_have_are_refused(headers: object) -> None:
    with pytest.raises(PluginError, match=r"Backend 'bore': probe_headers must map header names"):
        third_party(probe_headers=headers)


def test_its_headers_cannot_be_changed_afterwards() -> None:
    given = {"x-a": "1"}
    backend = third_party(probe_headers=given)
    given["x-a"] = "2"
    assert backend.probe_headers == {"x-a": "1"}
    with pytest.raises(TypeError):
        backend.probe_headers["x-a"] = "3"  # type: ignore[index]
