"""The middleware: what an application gets to see of visitors, and who gets in."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock, call

import pytest

from prx_tunnel_core import access
from prx_tunnel_core.access import PUBLIC, App, TunnelAdmission, bearer_token
from prx_tunnel_core.models import TunnelInfo, VisitorHeaders

pytestmark = pytest.mark.anyio

SECRET = "correct-horse-battery"
MARKS = VisitorHeaders(always=("x-forwarded-for", "x-forwarded-host"), address="x-forwarded-for")
INFO = TunnelInfo("https://agent.example.com", "b", 3000, datetime.now(UTC), visitor_headers=MARKS)
BARE = TunnelInfo("http://relay.example.com:4000", "ssh", 3000, datetime.now(UTC))

LOCAL = {"host": "localhost:3000"}
VISITOR = {"host": "agent.example.com", "x-forwarded-for": "127.0.0.1, 203.0.113.7"}


@dataclass
class Fixed:
    info: TunnelInfo | None = INFO


class Recorder:
    """An application that keeps the scopes it was called with."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)


async def ask(
    app: App,
    headers: dict[str, str],
    *,
    path: str = "/",
    kind: str = "http",
    state: dict[str, Any] | None = None,
) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": f"{kind}.connect"}

    scope = {
        "type": kind,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 3000),
        "state": state or {},
    }
    await app(scope, receive, send)
    return sent


async def test_a_visitor_has_an_address_of_their_own() -> None:
    inner = Recorder()
    app = TunnelAdmission(inner, Fixed())
    await ask(app, VISITOR)
    await ask(app, LOCAL)
    visitor, local = inner.scopes
    assert (visitor[PUBLIC], visitor["client"]) == (True, ("203.0.113.7", 0))
    assert (b"x-forwarded-for", b"203.0.113.7") in visitor["headers"]
    assert (local[PUBLIC], local["client"]) == (False, ("127.0.0.1", 50000))


async def test_where_the_backend_tells_no_address_there_is_none() -> None:
    inner = Recorder()
    await ask(TunnelAdmission(inner, Fixed(BARE)), VISITOR)
    (scope,) = inner.scopes
    assert scope["client"] is None
    assert [name for name, _ in scope["headers"]] == [b"host"]


async def test_the_tunnel_is_that_of_the_lifespan() -> None:
    inner = Recorder()
    app = TunnelAdmission(inner)
    await ask(app, LOCAL)
    await ask(app, LOCAL, state={"tunnel": Fixed()})
    assert [scope[PUBLIC] for scope in inner.scopes] == [True, False]


async def test_what_was_known_last_counts_while_it_reconnects() -> None:
    inner, tunnel = Recorder(), Fixed()
    app = TunnelAdmission(inner, tunnel)
    for known in (INFO, None):
        tunnel.info = known
        await ask(app, LOCAL)
        await ask(app, VISITOR)
    assert [scope[PUBLIC] for scope in inner.scopes] == [False, True, False, True]


async def test_headers_of_a_backend_that_does_not_say_them_itself() -> None:
    inner = Recorder()
    app = TunnelAdmission(inner, Fixed(BARE), visitor_headers=MARKS)
    await ask(app, LOCAL)
    await ask(app, VISITOR)
    assert [scope[PUBLIC] for scope in inner.scopes] == [False, True]


@pytest.mark.parametrize(
    "said",
    [None, "Bearer", "Bearer wrong", f"Basic {SECRET}", f"Bearer {SECRET}x", SECRET, "Bearer é"],
)
async def test_a_guard_keeps_visitors_out(said: str | None) -> None:
    inner = Recorder()
    app = TunnelAdmission(inner, Fixed(), guard=bearer_token(SECRET))
    start, body = await ask(app, VISITOR if said is None else {**VISITOR, "authorization": said})
    assert start["status"] == 401
    assert (b"www-authenticate", b"Bearer") in start["headers"]
    assert (b"content-length", b"%d" % len(body["body"])) in start["headers"]
    (closed,) = await ask(app, VISITOR, kind="websocket")
    assert closed == {"type": "websocket.close", "code": 1008}
    assert inner.scopes == []


async def test_a_guard_lets_in_who_has_the_token_and_who_is_local() -> None:
    inner = Recorder()
    app = TunnelAdmission(inner, Fixed(), guard=bearer_token(SECRET))
    await ask(app, {**VISITOR, "authorization": f"bearer {SECRET}"})
    await ask(app, {**VISITOR, "authorization": f"Bearer {SECRET}"}, kind="websocket")
    await ask(app, LOCAL)
    assert [scope[PUBLIC] for scope in inner.scopes] == [True, True, False]


async def test_one_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compare = Mock(wraps=hmac.compare_digest)
    monkeypatch.setattr("hmac.compare_digest", compare)
    inner = Recorder()
    app = TunnelAdmission(inner, Fixed(), guard=bearer_token(SECRET))
    good, bad = f"Bearer {SECRET}", "Bearer wrong"
    await ask(app, {**VISITOR, "authorization": bad})
    await ask(app, {**VISITOR, "authorization": good})
    await ask(app, {**VISITOR, "authorization": good, "Authorization": good})
    await ask(app, {**VISITOR, "authorization": good, "Authorization": bad})
    assert len(inner.scopes) == 1
    given = [b"wrong", SECRET.encode(), b"", b""]
    assert compare.call_args_list == [call(each, SECRET.encode()) for each in given]


async def test_any_middleware_can_be_the_guard() -> None:
    """That of Cloudflare Access, for one."""
    inner, outer = Recorder(), Recorder()
    app = TunnelAdmission(inner, Fixed(), guard=lambda app: outer)
    await ask(app, VISITOR)
    await ask(app, LOCAL)
    assert (len(outer.scopes), len(inner.scopes)) == (1, 1)


@pytest.mark.parametrize(
    ("path", "guarded"),
    [
        ("/webhooks/github", False),
        ("/webhooks/", False),
        ("/telegram", False),
        ("/webhooks", True),
        ("/telegram/x", True),
        ("/telegramx", True),
        ("/", True),
        ("/webhooks/../admin", True),
        ("/webhooks/..", True),
        ("/webhooks/./x", True),
        ("/webhooks//x", True),
        ("//webhooks/x", True),
        ("/Webhooks/x", True),
    ],
)
async def test_what_is_signed_needs_no_token(path: str, guarded: bool) -> None:
    app = TunnelAdmission(
        Recorder(), Fixed(), guard=bearer_token(SECRET), unguarded=["/webhooks/", "/telegram"]
    )
    assert bool(await ask(app, VISITOR, path=path)) is guarded


async def test_the_root_is_nothing_but_itself() -> None:
    app = TunnelAdmission(Recorder(), Fixed(), guard=bearer_token(SECRET), unguarded=["/"])
    assert not await ask(app, VISITOR, path="/")
    assert await ask(app, VISITOR, path="/admin")
    assert await ask(app, VISITOR, path="/admin/")


@pytest.mark.parametrize(
    "path", ["/webhooks/x\n", "//webhooks/x", "/webhooks//x", "/a/..", "*", ""]
)
@pytest.mark.parametrize("guard", [None, bearer_token(SECRET)])
async def test_s01_an_ambiguous_path_of_a_visitor_is_not_found(path: str, guard: Any) -> None:
    inner = Recorder()
    app = TunnelAdmission(inner, Fixed(), guard=guard, unguarded=["/webhooks/"])
    start, _ = await ask(app, {**VISITOR, "authorization": f"Bearer {SECRET}"}, path=path)
    assert start["status"] == 404
    (closed,) = await ask(app, VISITOR, path=path, kind="websocket")
    assert closed == {"type": "websocket.close", "code": 1008}
    assert inner.scopes == []
    await ask(app, LOCAL, path=path)
    assert len(inner.scopes) == 1


async def test_s07_other_kinds_of_scopes_are_refused() -> None:
    inner = Recorder()
    for guard in (None, bearer_token(SECRET)):
        with pytest.raises(ValueError, match="webtransport"):
            await ask(TunnelAdmission(inner, Fixed(), guard=guard), LOCAL, kind="webtransport")
    assert inner.scopes == []


async def test_s07_a_second_tunnel_to_the_port_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "connected", {"another": BARE})
    inner = Recorder()
    app = TunnelAdmission(inner, Fixed())
    await ask(app, LOCAL)
    await ask(app, VISITOR)
    assert [scope[PUBLIC] for scope in inner.scopes] == [True, True]
    assert [scope["client"] for scope in inner.scopes] == [None, None]
    assert [name for name, _ in inner.scopes[1]["headers"]] == [b"host"]


async def test_the_lifespan_passes_through() -> None:
    inner = Recorder()
    await ask(TunnelAdmission(inner, guard=bearer_token(SECRET)), {}, kind="lifespan")
    assert [scope["type"] for scope in inner.scopes] == ["lifespan"]


def test_what_is_set_wrongly_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="16 characters"):
        bearer_token("short")
    for paths in ("/webhooks/", ["webhooks/"]):
        with pytest.raises(ValueError, match="unguarded"):
            TunnelAdmission(Recorder(), unguarded=paths)
    for ports in (8001, "8001", ["8001"], [True], None):
        with pytest.raises(ValueError, match="private_ports"):
            TunnelAdmission(Recorder(), private_ports=ports)  # type: ignore[arg-type]
    for headers in ("x-my-proxy", ("x-my-proxy",)):
        with pytest.raises(TypeError, match="visitor_headers"):
            TunnelAdmission(Recorder(), visitor_headers=headers)  # type: ignore[arg-type]
