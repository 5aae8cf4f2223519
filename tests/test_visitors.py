"""Who is a visitor: "local" must never be said of one, whatever they send."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prx_tunnel_core.models import TunnelInfo, VisitorHeaders
from prx_tunnel_core.visitors import (
    FORWARDING,
    is_public_request,
    scope_of,
    visitor_address,
    without_claims,
)

CLOUDFLARE = VisitorHeaders(
    always=("cf-warp-tag-id", "cf-connecting-ip", "cf-ray"), address="cf-connecting-ip"
)
NGROK = VisitorHeaders(
    always=("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"), address="x-forwarded-for"
)


def info(headers: VisitorHeaders | None = CLOUDFLARE, port: int = 3000) -> TunnelInfo:
    return TunnelInfo(
        "https://agent.example.com", "b", port, datetime.now(UTC), visitor_headers=headers
    )


def request(
    *headers: tuple[str, str],
    host: str | None = "localhost:3000",
    client: str | None = "127.0.0.1",
    port: int | None = 3000,
) -> dict[str, Any]:
    named = [("Host", host)] if host is not None else []
    return {
        "type": "http",
        "headers": [(n.encode(), v.encode("latin-1")) for n, v in [*named, *headers]],
        "client": None if client is None else (client, 50000),
        "server": ("127.0.0.1", port),
    }


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1", "[::1]:3000", "agent.localhost"])
@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_client_of_this_machine_is_local_where_the_backend_marks_its_requests(
    host: str, client: str
) -> None:
    assert not is_public_request(request(host=host, client=client), info())


@pytest.mark.parametrize(
    "scope",
    [
        request(("Cf-Connecting-Ip", "203.0.113.7"), ("Cf-Ray", "1"), host="agent.example.com"),
        request(("CF-WARP-TAG-ID", "e0168b3b")),
        request(("Cf-Connecting-Ip", "127.0.0.1")),
        request(("X-Forwarded-For", "127.0.0.1")),
        request(("Forwarded", "for=127.0.0.1")),
        request(("Tailscale-Funnel-Request", "?1")),
        request(host="agent.example.com"),
        request(host="agent.example.com", client="203.0.113.7"),
        request(client="192.168.1.7"),
        request(client=None),
        request(client=""),
        request(host=None),
        request(("Host", "localhost")),
        request(host="localhost.example.com"),
        request(host="127.0.0.1.example.com"),
        request(host="[::1].example.com", client="203.0.113.7"),
        request(host=""),
        request(("Origin", "https://evil.example")),
        request(("Origin", "null")),
    ],
)
def test_everything_else_is_public(scope: dict[str, Any]) -> None:
    assert is_public_request(scope, info())


def test_a_page_of_this_machine_is_local() -> None:
    assert not is_public_request(request(("Origin", "http://localhost:5173")), info())


@pytest.mark.parametrize("known", [None, info(None), info(VisitorHeaders(()))])
def test_where_nothing_tells_visitors_apart_everybody_is_one(known: TunnelInfo | None) -> None:
    assert is_public_request(request(), known)


def test_a_private_port_tells_them_apart_unless_the_tunnel_leads_there() -> None:
    bare = info(None)
    assert not is_public_request(request(port=8001), bare, private_ports={8001})
    assert not is_public_request(request(port=8001), None, private_ports={8001})
    assert is_public_request(request(port=3000), bare, private_ports={8001})
    assert is_public_request(request(port=3000), bare, private_ports={3000})
    assert is_public_request(request(port=None), bare, private_ports={8001})
    assert is_public_request(
        request(("X-Forwarded-For", "1.2.3.4"), port=8001), bare, private_ports={8001}
    )
    assert is_public_request(request(port=8001, host="evil.example"), bare, private_ports={8001})


names = st.sampled_from(sorted(FORWARDING)) | st.binary(max_size=12)
values = st.sampled_from([b"127.0.0.1", b"localhost", b"?1", b"::1"]) | st.binary(max_size=20)


@given(st.lists(st.tuples(names, values), max_size=8), st.sampled_from([CLOUDFLARE, NGROK]))
def test_no_header_of_a_visitor_undoes_the_mark(
    sent: list[tuple[bytes, bytes]], marks: VisitorHeaders
) -> None:
    """The backend adds its own beside whatever was sent."""
    scope = request()
    scope["headers"] = [*sent, *scope["headers"], (marks.always[0].title().encode(), b"1")]
    assert is_public_request(scope, info(marks))


@given(st.lists(st.tuples(names, values), max_size=8), st.sampled_from([CLOUDFLARE, NGROK]))
def test_the_address_is_the_backends_whatever_the_visitor_claims(
    sent: list[tuple[bytes, bytes]], marks: VisitorHeaders
) -> None:
    own = (marks.address.encode(), b"203.0.113.7")
    scope = request()
    scope["headers"] = [*sent, *scope["headers"], own]
    assert visitor_address(scope, info(marks)) == "203.0.113.7"
    scope["headers"] = without_claims(scope["headers"], marks)
    assert visitor_address(scope, info(marks)) == "203.0.113.7"
    assert [value for name, value in scope["headers"] if name.lower() == own[0]] == [own[1]]


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("127.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("203.0.113.7,", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("0.0.0.0", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_the_last_item_is_the_address_or_there_is_none(value: str, address: str | None) -> None:
    assert visitor_address(request(("X-Forwarded-For", value)), info(NGROK)) == address


def test_an_address_in_a_header_of_another_backend_counts_for_nothing() -> None:
    scope = request(("Cf-Connecting-Ip", "203.0.113.7"))
    assert visitor_address(scope, info(NGROK)) is None
    assert visitor_address(scope, info(None)) is None
    assert visitor_address(scope, None) is None


def test_claims_are_removed_and_nothing_else() -> None:
    headers = [
        (b"host", b"x"),
        (b"X-Real-Ip", b"127.0.0.1"),
        (b"x-forwarded-for", b"127.0.0.1, 203.0.113.7"),
        (b"x-forwarded-proto", b"https"),
        (b"x-hub-signature-256", b"sha256=1"),
    ]
    assert without_claims(headers, NGROK) == [
        headers[0], headers[3], headers[4], (b"x-forwarded-for", b"203.0.113.7"),
    ]  # fmt: skip
    assert without_claims(headers, None) == [headers[0], headers[3], headers[4]]


def test_a_wsgi_environment_is_judged_alike() -> None:
    environ = {
        "HTTP_HOST": "localhost:3000",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "3000",
        "wsgi.input": None,
    }
    assert not is_public_request(scope_of(environ), info())
    assert is_public_request(scope_of({**environ, "HTTP_CF_RAY": "1"}), info())
    assert is_public_request(scope_of({}), info())
    visited = scope_of({**environ, "HTTP_CF_CONNECTING_IP": "203.0.113.7"})
    assert visitor_address(visited, info()) == "203.0.113.7"
