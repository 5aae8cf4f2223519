"""ASGI: mark the requests that came through the tunnel, and ask visitors for more than a URL."""

from __future__ import annotations

import hmac
import posixpath
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

from prx_tunnel_core.models import TunnelInfo, VisitorHeaders
from prx_tunnel_core.visitors import is_public_request, visitor_address, without_claims

PUBLIC = "prx_tunnel_public"
"""Where an application finds the answer: `scope["prx_tunnel_public"]` is True or False."""

SHORTEST_TOKEN = 16  # characters; the whole world may guess

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
# Frameworks name the shapes of their messages, each in its own way.
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]


class HasInfo(Protocol):
    """A tunnel, of which only one thing is asked."""

    @property
    def info(self) -> TunnelInfo | None: ...


class TunnelAdmission:
    """Middleware for an application behind a tunnel.

    Each request gets `scope["prx_tunnel_public"]`. A public one loses the headers in which a
    visitor could claim an address, and its `scope["client"]` becomes the visitor's address where
    the backend tells it, else None: never 127.0.0.1.

    `guard` is a middleware that only public requests go through: `bearer_token(secret)`, or one of
    your own, such as that of Cloudflare Access. `unguarded` are paths that need none, because
    what arrives there is signed (webhooks): exact, or all below one that ends with a slash; only
    "/" is nothing but itself.

    The tunnel is `tunnel`, else `scope["state"]["tunnel"]`, as `prx_tunnel_core.asgi` sets it.
    While there is none, everything is public. `visitor_headers` speaks for a backend that does not
    (a `custom` command); see `is_public_request` for `private_ports`.
    """

    def __init__(
        self,
        app: App,
        tunnel: HasInfo | None = None,
        *,
        guard: Callable[[App], App] | None = None,
        unguarded: Collection[str] = (),
        private_ports: Collection[int] = (),
        visitor_headers: VisitorHeaders | None = None,
    ) -> None:
        if isinstance(unguarded, str) or not all(path.startswith("/") for path in unguarded):
            raise ValueError('unguarded: a collection of paths, each beginning with "/"')
        self._app = app
        self._guarded = app if guard is None else guard(app)
        self._tunnel = tunnel
        self._unguarded = frozenset(unguarded)
        self._private_ports = frozenset(private_ports)
        self._visitor_headers = visitor_headers
        self._latest: TunnelInfo | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        info = self._info(scope)
        public = is_public_request(scope, info, private_ports=self._private_ports)
        scope = {**scope, PUBLIC: public}
        if not public:
            await self._app(scope, receive, send)
            return
        address = visitor_address(scope, info)
        scope["client"] = None if address is None else (address, 0)
        marks = info.visitor_headers if info is not None else None
        scope["headers"] = without_claims(scope["headers"], marks)
        app = self._app if self._is_unguarded(scope["path"]) else self._guarded
        await app(scope, receive, send)

    def _info(self, scope: Mapping[str, Any]) -> TunnelInfo | None:
        """What the tunnel says, or said last: requests still arrive while it reconnects."""
        tunnel: HasInfo | None = self._tunnel or (scope.get("state") or {}).get("tunnel")
        self._latest = (tunnel.info if tunnel is not None else None) or self._latest
        if self._latest is None or self._visitor_headers is None:
            return self._latest
        return replace(self._latest, visitor_headers=self._visitor_headers)

    def _is_unguarded(self, path: str) -> bool:
        # An application may resolve `..`, and so be asked for another path than was looked at.
        if path != posixpath.normpath(path) + "/" * (path.endswith("/") and path != "/"):
            return False
        # Not the root: who lists "/" means the front page, not everything.
        folders = (path[: at + 1] for at, sign in enumerate(path) if sign == "/" and at)
        return path in self._unguarded or not self._unguarded.isdisjoint(folders)


def bearer_token(secret: str) -> Callable[[App], App]:
    """A guard: answers 401 to what does not say `Authorization: Bearer <secret>`."""
    if len(secret.strip()) < SHORTEST_TOKEN:
        raise ValueError(f"the token is too short; use {SHORTEST_TOKEN} characters or more")
    expected = secret.encode()

    def guard(app: App) -> App:
        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if hmac.compare_digest(_token(scope), expected):
                await app(scope, receive, send)
            else:
                await _refuse(scope, receive, send)

        return guarded

    return guard


def _token(scope: Scope) -> bytes:
    found: list[bytes] = [
        value for name, value in scope["headers"] if name.lower() == b"authorization"
    ]
    scheme, _, token = found[0].partition(b" ") if len(found) == 1 else (b"", b"", b"")
    return token.strip() if scheme.lower() == b"bearer" else b""


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # the connect message
        await send({"type": "websocket.close", "code": 1008})
        return
    text = b"Unauthorized\n"
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"%d" % len(text)),
        (b"www-authenticate", b"Bearer"),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": text})
