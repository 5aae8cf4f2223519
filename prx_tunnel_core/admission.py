"""ASGI: mark the requests that came through the tunnel, and ask visitors for more than a URL."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from prx_tunnel_core.access import (
    headers_of_tunnels,
    is_public_request,
    visitor_address,
    without_claims,
)
from prx_tunnel_core.middleware import App, Message, Receive, Scope, Send, is_request, respond
from prx_tunnel_core.models import TunnelInfo, VisitorHeaders
from prx_tunnel_core.paths import AmbiguousPath, RequestPath, UnguardedPaths

__all__ = [
    "PUBLIC",
    "App",
    "HasInfo",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "TunnelAdmission",
    "bearer_token",
]

PUBLIC = "prx_tunnel_public"
"""Where an application finds the answer: `scope["prx_tunnel_public"]` is True or False."""

SHORTEST_TOKEN = 16  # characters; the whole world may guess


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
    "/" is nothing but itself. They are written as the application's routes are, without a root
    path. A public request whose path can be read in several ways gets 404: see
    `prx_tunnel_core.paths`.

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
        self._app = app
        self._guarded = app if guard is None else guard(app)
        self._tunnel = tunnel
        self._unguarded = UnguardedPaths(unguarded)
        self._private_ports = _checked_ports(private_ports)
        if not isinstance(visitor_headers, VisitorHeaders | None):
            raise TypeError(f"visitor_headers: {visitor_headers!r} is not a VisitorHeaders")
        self._visitor_headers = visitor_headers
        self._latest: TunnelInfo | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_request(scope):
            await self._app(scope, receive, send)
            return
        info = self._info(scope)
        public = is_public_request(scope, info, private_ports=self._private_ports)
        scope = {**scope, PUBLIC: public}
        if not public:
            await self._app(scope, receive, send)
            return
        try:
            path = RequestPath(scope)
        except AmbiguousPath:
            await respond(scope, receive, send, 404)
            return
        address = visitor_address(scope, info)
        marks = headers_of_tunnels(scope, info)
        scope["client"] = None if address is None else (address, 0)
        scope["headers"] = without_claims(scope["headers"], marks)
        app = self._app if self._unguarded.cover(path) else self._guarded
        await app(scope, receive, send)

    def _info(self, scope: Mapping[str, Any]) -> TunnelInfo | None:
        """What the tunnel says, or said last: requests still arrive while it reconnects."""
        tunnel: HasInfo | None = self._tunnel or (scope.get("state") or {}).get("tunnel")
        self._latest = (tunnel.info if tunnel is not None else None) or self._latest
        if self._latest is None or self._visitor_headers is None:
            return self._latest
        return replace(self._latest, visitor_headers=self._visitor_headers)


def _checked_ports(private_ports: Iterable[Any]) -> frozenset[int]:
    given: object = private_ports
    ports: frozenset[Any] = frozenset(given) if isinstance(given, Iterable) else frozenset({None})
    if not all(type(port) is int for port in ports):
        raise ValueError(f"private_ports: {given!r} is not a collection of ports; write [8001]")
    return ports


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
                await respond(scope, receive, send, 401, [(b"www-authenticate", b"Bearer")])

        return guarded

    return guard


def _token(scope: Scope) -> bytes:
    found: list[bytes] = [
        value for name, value in scope["headers"] if name.lower() == b"authorization"
    ]
    scheme, _, token = found[0].partition(b" ") if len(found) == 1 else (b"", b"", b"")
    return token.strip() if scheme.lower() == b"bearer" else b""
