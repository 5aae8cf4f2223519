"""Who is a visitor: "local" must never be said of one, whatever they send."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prx_tunnel_core import access
from prx_tunnel_core._supervisor.broadcast import StatusBroadcast
from prx_tunnel_core.access import (
    FORWARDING,
    headers_of_tunnels,
    is_public_request,
    scope_of,
    visitor_address,
    without_claims,
)
from prx_tunnel_core.models import (
    Connected,
    Connecting,
    Failed,
    Reconnecting,
    Stopped,
    TunnelInfo,
    VisitorHeaders,
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
        request(("Sec-Fetch-Site", "cross-site")),
        request(("Sec-Fetch-Site", "Cross-Site")),
        request(("Sec-Fetch-Site", "")),
        request(("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")),
        request(("Sec-Fetch-Site", "same-origin, cross-site")),
        request(("Referer", "https://evil.example/localhost")),
        request(("Referer", "https://evil.example?http://localhost/")),
        request(("Referer", "http://localhost:3000@evil.example/")),
        request(("Referer", "about:blank")),
        request(("X_Forwarded_For", "127.0.0.1")),
        request(("X-Forwarded_For", "127.0.0.1")),
        request(("cf_connecting_ip", "127.0.0.1")),
        request(("CF_WARP_TAG_ID", "e0168b3b")),
    ],
)
def test_everything_else_is_public(scope: dict[str, Any]) -> None:
    assert is_public_request(scope, info())


@pytest.mark.parametrize(
    "header",
    [
        ("Origin", "http://localhost:5173"),
        ("Referer", "http://localhost:5173/a?b#c"),
        ("Referer", "http://[::1]:5173/"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "none"),
    ],
)
def test_a_page_of_this_machine_is_local(header: tuple[str, str]) -> None:
    assert not is_public_request(request(header), info())


@pytest.mark.parametrize("known", [None, info(None), info(VisitorHeaders(()))])
def test_where_nothing_tells_visitors_apart_everybody_is_one(known: TunnelInfo | None) -> None:
    assert is_public_request(request(), known)


@pytest.mark.parametrize(
    "given",
    [
        ("X-My-Proxy",),
        ["X-MY-PROXY"],
        {"x-my-proxy"},
        (b"X-My-Proxy",),
        ("x_my_proxy",),
        iter(["X-My-Proxy"]),
    ],
)
def test_s06_names_of_headers_are_normalised(given: Any) -> None:
    marks = VisitorHeaders(always=given, address="X-My-Proxy")
    assert marks == VisitorHeaders(("x-my-proxy",), "x-my-proxy")
    assert marks.always == ("x-my-proxy",)
    assert is_public_request(request(("X-My-Proxy", "203.0.113.7")), info(marks))
    assert visitor_address(request(("X-My-Proxy", "203.0.113.7")), info(marks)) == "203.0.113.7"


@pytest.mark.parametrize(
    ("always", "address", "key"),
    [
        ("x-my-proxy", "", "always"),
        (b"x-my-proxy", "", "always"),
        ({"x-my-proxy": 1}, "", "always"),
        (None, "", "always"),
        (7, "", "always"),
        ((7,), "", "always"),
        ((None,), "", "always"),
        (("",), "", "always"),
        (("x-my-proxy:",), "", "always"),
        ((" x-my-proxy",), "", "always"),
        (("x-my-proxy\n",), "", "always"),
        (("x-my-proxy, via",), "", "always"),
        (("é",), "", "always"),
        ((), "x my proxy", "address"),
        ((), 7, "address"),
        ((), ("x-my-proxy",), "address"),
    ],
)
def test_s06_what_is_no_name_of_a_header_is_refused(always: Any, address: Any, key: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{key}: .*write"):
        VisitorHeaders(always, address)


class TestSeveralTunnels:
    """S07: a request to a port may have come through any tunnel that leads there."""

    @pytest.fixture(autouse=True)
    def statuses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(access, "connected", {})

    def up(self, headers: VisitorHeaders | None, port: int = 3000) -> StatusBroadcast:
        statuses = StatusBroadcast()
        statuses.put(Connected(info(headers, port)))
        return statuses

    def test_s07_one_that_marks_nothing_makes_everybody_public(self) -> None:
        assert not is_public_request(request(), info(CLOUDFLARE))
        second = self.up(None)
        assert is_public_request(request(), info(CLOUDFLARE))
        assert is_public_request(request(port=None), info(CLOUDFLARE))
        second.close()
        assert not is_public_request(request(), info(CLOUDFLARE))

    def test_s07_the_marks_of_each_count(self) -> None:
        own = VisitorHeaders(("x-my-proxy",))
        self.up(own)
        assert is_public_request(request(("X-My-Proxy", "1")), info(CLOUDFLARE))
        assert not is_public_request(request(), info(CLOUDFLARE))

    @pytest.mark.parametrize("scoped", [3000, 8080])
    def test_s07_one_to_another_port_does_not_matter(self, scoped: int) -> None:
        """The application may be behind a proxy of this machine: either port may be meant."""
        self.up(None, port=4000)
        assert not is_public_request(request(port=scoped), info(CLOUDFLARE))
        self.up(None, port=3000)
        assert is_public_request(request(port=scoped), info(CLOUDFLARE))

    def test_s07_it_counts_from_when_it_connects_until_it_is_over(self) -> None:
        statuses = self.up(None)
        for during in (Reconnecting(1, "dropped", 1.0), Connecting(1), Connected(info(None))):
            statuses.put(during)
            assert is_public_request(request(), info(CLOUDFLARE))
        for end in (Stopped(), Failed("gave up")):
            statuses.put(end)
            assert not is_public_request(request(), info(CLOUDFLARE))
            statuses.put(Connected(info(None)))

    def test_s07_a_private_port_is_none_when_a_tunnel_leads_there(self) -> None:
        self.up(None, port=8001)
        for known in (None, info(None, 3000)):
            assert is_public_request(request(port=8001), known, private_ports={8001})

    def test_s07_an_address_is_believed_when_every_tunnel_sets_that_header(self) -> None:
        claimed = request(("X-Forwarded-For", "203.0.113.7"), ("Cf-Connecting-Ip", "203.0.113.7"))
        self.up(VisitorHeaders(("x-forwarded-for",), "x-forwarded-for"))
        assert visitor_address(claimed, info(NGROK)) == "203.0.113.7"
        assert visitor_address(claimed, info(CLOUDFLARE)) is None
        marks = headers_of_tunnels(claimed, info(CLOUDFLARE))
        assert marks == VisitorHeaders(())
        left = without_claims(claimed["headers"], marks)
        assert [name for name, _ in left] == [b"Host"]
        self.up(None)
        assert visitor_address(claimed, info(NGROK)) is None

    def test_s07_the_same_tunnel_does_not_count_twice(self) -> None:
        """A host may say more of its headers than the backend does."""
        known = info(None)
        statuses = StatusBroadcast()
        statuses.put(Connected(known))
        assert not is_public_request(request(), replace(known, visitor_headers=CLOUDFLARE))


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


@pytest.mark.parametrize(
    "name",
    [
        "Client-Ip", "X-Forwarded", "Forwarded-For", "X-Originating-IP", "Remote-Addr",
        "X-Remote-IP", "WL-Proxy-Client-IP", "X-Appengine-User-Ip", "X-Envoy-External-Address",
        "X_Vercel_Forwarded_For", "CloudFront-Viewer-Address", "DO-Connecting-IP",
    ],
)  # fmt: skip
def test_s07_an_address_cannot_be_claimed_in_a_header_of_any_other_proxy(name: str) -> None:
    """django-ipware and its like look at all of these."""
    claim = (name.encode(), b"127.0.0.1")
    assert without_claims([claim], CLOUDFLARE) == without_claims([claim], None) == []
    assert is_public_request(request((name, "127.0.0.1")), info(CLOUDFLARE))


def test_s07_claims_with_underscores_are_removed_too() -> None:
    """A WSGI application behind this takes both for one header, the visitor's value first."""
    headers = [
        (b"host", b"x"),
        (b"x_forwarded_for", b"127.0.0.1"),
        (b"X-Forwarded_For", b"127.0.0.1"),
        (b"x_real_ip", b"127.0.0.1"),
        (b"x_forwarded_proto", b"ftp"),
        (b"x_other", b"1"),
        (b"x-forwarded-for", b"203.0.113.7"),
    ]
    assert without_claims(headers, NGROK) == [headers[0], headers[5], headers[6]]
    assert visitor_address({"headers": headers[:3]}, info(NGROK)) is None


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


# --- a third party ------------------------------------------------------------------------------


def test_a_third_partys_header_counts_by_its_backend() -> None:
    """`VisitorHeaders` is the way in which a backend brings names that core does not know."""
    own = VisitorHeaders(always=("x-bore-request", "x-bore-client"), address="x-bore-client")
    marked = request(("X-Bore-Client", "203.0.113.7"))
    assert is_public_request(marked, info(own))
    assert visitor_address(marked, info(own)) == "203.0.113.7"
    assert not is_public_request(marked, info(VisitorHeaders(("x-other",))))
    claimed = [(b"x_bore_client", b"127.0.0.1"), (b"x-bore-client", b"1.2.3.4, 203.0.113.7")]
    assert without_claims(claimed, own) == [(b"x-bore-client", b"203.0.113.7")]
