"""Who made a request: a visitor who came through the tunnel, or a client on this machine.

A tunnel's program connects from loopback, so every visitor of the world appears as 127.0.0.1. What
tells them apart are the headers that the backend itself sets, and for some backends nothing does.
"Local" is said only when it is certain; everything else is public.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from prx_tunnel_core.models import TunnelInfo, VisitorHeaders, header_name
from prx_tunnel_core.urls import ip, is_loopback

# In these a visitor can claim an address, and an application may believe it.
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
# These and the above are what proxies write; a client that talks to us directly sends none.
FORWARDING = CLAIMS | {
    b"via", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"cf-ray",
    b"cf-warp-tag-id", b"cdn-loop", b"tailscale-funnel-request", b"tailscale-user-login",
}  # fmt: skip


# Browsers send one of these; any other value may stand for a page of a stranger.
_SITES_OF_THIS_MACHINE = frozenset({b"same-origin", b"same-site", b"none"})

connected: dict[object, TunnelInfo] = {}
"""Each tunnel that is known here, by the object that keeps its status."""


def is_public_request(
    scope: Mapping[str, Any], info: TunnelInfo | None, *, private_ports: Collection[int] = ()
) -> bool:
    """Whether the request of this ASGI scope came, or may have come, through the tunnel.

    False only when all of this holds: the client is on this machine; no header says that a proxy
    passed the request on; the request is for a name of this machine and comes from no web page of
    another (a browser here would carry out what that page says); and either the backend marks each
    of its requests and this one has no mark, or it arrived at one of `private_ports`.

    `info` is the tunnel's; with None, nothing is known of the backend. Every other tunnel of this
    process that leads to the same port counts as well. `private_ports` are listeners on loopback
    that the host promises no tunnel and no proxy leads to: the only way to tell clients of this
    machine from visitors of a tunnel that passes on bare TCP (ssh, bore).
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
    """The headers that hold whichever tunnel to this port the request came through."""
    marks = [tunnel.visitor_headers for tunnel in _tunnels(scope, info)]
    known = [each for each in marks if each is not None]
    if not known or len(known) < len(marks):
        return None
    first, *others = known
    always = [name for name in first.always if all(name in each.always for each in others)]
    agreed = all(each.address == first.address for each in others)
    return VisitorHeaders(tuple(always), first.address if agreed else "")


def visitor_address(scope: Mapping[str, Any], info: TunnelInfo | None) -> str | None:
    """The address of a visitor, from the backend's own header; None when that does not tell it.

    Of a header with several items, the last: it is the backend's, the others are the visitor's.
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
    """The headers without those in which a visitor can claim an address.

    What the backend sets itself stays, with nothing but its own last item where that is an address.
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
    """The ASGI scope of a WSGI environment, with all that the functions here look at."""
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
