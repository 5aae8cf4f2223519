"""Tell visitors of the tunnel from clients of this machine, and ask visitors for more than a URL.

The program of a tunnel connects from loopback, so every visitor of the world appears as 127.0.0.1.
What tells them apart are the headers that the backend sets itself; for some backends nothing does.
A request counts as local only when that is certain, and as public otherwise.

`is_public_request` and `visitor_address` answer for one request of any framework; `TunnelAdmission`
is ASGI middleware that does it for an application, with a guard for visitors:

    app = TunnelAdmission(app, guard=bearer_token(secret), unguarded=["/webhooks/"])
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from prx_tunnel_core.middleware import App, Message, Receive, Scope, Send, is_request, respond
from prx_tunnel_core.models import TunnelInfo, VisitorHeaders, header_name
from prx_tunnel_core.paths import AmbiguousPath, RequestPath, UnguardedPaths
from prx_tunnel_core.urls import ip, is_loopback

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
    "headers_of_tunnels",
    "is_public_request",
    "scope_of",
    "visitor_address",
    "without_claims",
]

# Headers in which applications look for a client's address, so that a visitor could claim one. They
# do not depend on the backend: a visitor of any tunnel can send them, and a tunnel of another
# program may lead to the same port. What a backend sets itself is in its `VisitorHeaders`.
CLAIMS = frozenset({
    b"forwarded", b"forwarded-for", b"x-forwarded", b"x-forwarded-for", b"x-original-forwarded-for",
    b"client-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip", b"x-true-client-ip",
    b"real-ip", b"x-real-ip", b"remote-addr", b"x-remote-addr", b"remote-ip", b"x-remote-ip",
    b"x-originating-ip", b"proxy-client-ip", b"wl-proxy-client-ip", b"x-proxyuser-ip",
    b"cf-connecting-ip", b"cf-connecting-ipv6", b"cf-pseudo-ipv4", b"fastly-client-ip",
    b"fly-client-ip", b"x-appengine-user-ip", b"x-azure-clientip", b"x-azure-socketip",
    b"cloudfront-viewer-address", b"do-connecting-ip", b"x-envoy-external-address",
    b"x-nf-client-connection-ip", b"x-vercel-forwarded-for", b"x-sucuri-clientip",
    b"incap-client-ip",
})  # fmt: skip
# These and the above are written by proxies; a client that connects directly sends none of them.
FORWARDING = CLAIMS | {
    b"via", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"cf-ray",
    b"cf-warp-tag-id", b"cdn-loop", b"tailscale-funnel-request", b"tailscale-user-login",
}  # fmt: skip


PUBLIC = "prx_tunnel_public"
"""The key of the scope with the result: `scope["prx_tunnel_public"]` is True or False."""

SHORTEST_TOKEN = 16  # characters; anyone on the internet may guess

# What browsers send for a page of the same site; any other value may mean a stranger's page.
_SITES_OF_THIS_MACHINE = frozenset({b"same-origin", b"same-site", b"none"})

connected: dict[object, TunnelInfo] = {}
"""The tunnels that this process knows of, by the object that keeps the status of each."""


def is_public_request(
    scope: Mapping[str, Any], info: TunnelInfo | None, *, private_ports: Collection[int] = ()
) -> bool:
    """Whether the request of this ASGI scope came, or may have come, through the tunnel.

    False only when all of this holds:

    - the client is on this machine;
    - no header says that a proxy forwarded the request;
    - the request is for a name of this machine, and was not made by a web page of another site,
      which a browser on this machine may have open;
    - the backend marks each of its requests and this one has no mark, or the request arrived at one
      of `private_ports`.

    `info` is the tunnel's; None means that nothing is known of the backend. Every other tunnel of
    this process to the same port counts as well. `private_ports` are ports of loopback that, as the
    host promises, no tunnel and no proxy leads to. With a tunnel that forwards bare TCP (ssh, bore)
    they are the only way to recognise clients of this machine.

        if is_public_request(request.scope, tunnel.info):
            raise HTTPException(403)
    """
    headers = [(_name(name), value) for name, value in scope.get("headers") or ()]
    names = {name for name, _ in headers}
    if names & FORWARDING or not (_from_here(scope) and _for_here(headers)):
        return True
    tunnels = list(_tunnels(scope, info))
    port = _port(scope)
    if port in private_ports and all(port != tunnel.local_port for tunnel in tunnels):
        return False
    return info is None or any(
        not marks or not marks.always or not names.isdisjoint(_encoded(marks.always))
        for marks in (tunnel.visitor_headers for tunnel in tunnels)
    )


def headers_of_tunnels(scope: Mapping[str, Any], info: TunnelInfo | None) -> VisitorHeaders | None:
    """The headers that every tunnel to this port sets; None when one of them sets none."""
    marks = [tunnel.visitor_headers for tunnel in _tunnels(scope, info)]
    known = [each for each in marks if each is not None]
    if not known or len(known) < len(marks):
        return None
    first, *others = known
    always = [name for name in first.always if all(name in each.always for each in others)]
    agreed = all(each.address == first.address for each in others)
    return VisitorHeaders(tuple(always), first.address if agreed else "")


def visitor_address(scope: Mapping[str, Any], info: TunnelInfo | None) -> str | None:
    """The visitor's address, from the header that the backend sets; None when there is none.

    Of a header with several items only the last counts: the backend adds it, and the visitor may
    have sent the others.

        visitor_address(request.scope, tunnel.info)  # "203.0.113.7"
    """
    marks = headers_of_tunnels(scope, info)
    if marks is None or not marks.address:
        return None
    name = marks.address.encode()
    values = [value for each, value in scope.get("headers") or () if each.lower() == name]
    last = values[-1].decode("latin-1").rpartition(",")[2].strip() if values else ""
    address = ip(last)
    return None if address is None or is_loopback(last) else str(address)


def without_claims(
    headers: Iterable[tuple[bytes, bytes]], marks: VisitorHeaders | None
) -> list[tuple[bytes, bytes]]:
    """The headers without those in which a visitor could claim an address.

    Headers that the backend sets stay; of the one with the address, only the backend's own item.
    """
    address = marks.address.encode() if marks is not None else b""
    kept = _encoded(marks.always) if marks is not None else frozenset()
    claims = CLAIMS | kept | {address}
    # Under a name with `_`, the visitor's value would be taken for the backend's own by some.
    left = [item for item in headers if item[0].lower() in kept or _name(item[0]) not in claims]
    own = [item for item in headers if address and item[0].lower() == address][-1:]
    others = [item for item in left if item[0].lower() != address]
    return others + [(name, value.rpartition(b",")[2].strip()) for name, value in own]


def scope_of(environ: Mapping[str, Any]) -> dict[str, Any]:
    """The ASGI scope of a WSGI environment, with everything that this module reads.

    is_public_request(scope_of(flask.request.environ), tunnel.info)
    """
    names = (key for key in environ if key.startswith("HTTP_"))
    port = str(environ.get("SERVER_PORT", ""))
    return {
        "type": "http",
        "headers": [
            (name[5:].replace("_", "-").lower().encode("latin-1"), environ[name].encode("latin-1"))
            for name in names
        ],
        "client": (environ["REMOTE_ADDR"], 0) if environ.get("REMOTE_ADDR") else None,
        "server": (environ.get("SERVER_NAME", ""), int(port) if port.isdigit() else None),
    }


class HasInfo(Protocol):
    """A `Tunnel`, a `HostTunnel` or a stand-in for one: anything with an `info`."""

    @property
    def info(self) -> TunnelInfo | None: ...


class TunnelAdmission:
    """ASGI middleware that marks public requests and lets only them pass a guard.

    Each request gets `scope["prx_tunnel_public"]`. From a public one, the headers in which a
    visitor could claim an address are removed, and `scope["client"]` becomes the visitor's address,
    or None where the backend does not provide it: never 127.0.0.1.

    `guard` is a middleware for public requests: `bearer_token(secret)`, or another, such as that of
    Cloudflare Access. `unguarded` are the paths that need no guard because their requests are
    signed (webhooks): exact paths, or all below one that ends with a slash, except that "/" means
    itself only. Write them as the application's routes are, without a root path. A public request
    whose path is ambiguous gets 404: see `prx_tunnel_core.paths`.

    The tunnel is `tunnel`, else `scope["state"]["tunnel"]`, as `prx_tunnel_core.asgi` sets it.
    While there is none, every request is public. `visitor_headers` are for a backend that declares
    none (a `custom` command). For `private_ports` see `is_public_request`.

    Raises ValueError or TypeError for arguments that could not work as they are meant.
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
        """The tunnel's latest info: requests still arrive while it reconnects."""
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
    """A guard that answers 401 unless the request has `Authorization: Bearer <secret>`.

    Raises ValueError for a secret of fewer than 16 characters.
    """
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


def _tunnels(scope: Mapping[str, Any], info: TunnelInfo | None) -> Iterator[TunnelInfo]:
    """The given tunnel, and each other one of this process to the same port."""
    ports = {_port(scope)} | ({info.local_port} if info is not None else set())
    if info is not None:
        yield info
    for other in list(connected.values()):
        if other != info and (other.local_port in ports or None in ports):
            yield other


def _name(name: bytes) -> bytes:
    return header_name(name).encode("latin-1")


def _encoded(names: Iterable[str]) -> frozenset[bytes]:
    return frozenset(name.encode() for name in names)


def _from_here(scope: Mapping[str, Any]) -> bool:
    """Whether the peer is on this machine; a server that trusts headers may have changed it."""
    client = scope.get("client")
    return client is not None and is_loopback(str(client[0]))


def _for_here(headers: Collection[tuple[bytes, bytes]]) -> bool:
    def values(*names: bytes) -> list[str]:
        return [value.decode("latin-1") for name, value in headers if name in names]

    hosts = values(b"host")
    pages = [_authority(url) for url in values(b"origin", b"referer")]
    if len(hosts) != 1 or not all(is_loopback(_without_port(host)) for host in [*hosts, *pages]):
        return False
    return all(
        value.strip().lower() in _SITES_OF_THIS_MACHINE
        for name, value in headers
        if name == b"sec-fetch-site"
    )


def _authority(url: str) -> str:
    return re.split(r"[/?#\\]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]


def _without_port(host: str) -> str:
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]


def _port(scope: Mapping[str, Any]) -> int | None:
    server = scope.get("server")
    return int(server[1]) if server and server[1] is not None else None
