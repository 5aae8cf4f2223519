"""What a relay allows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from prx_tunnel_core.urls import normalise

_MOST_TRIES = 64
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that a guest may ask for."""

    ranges: tuple[range, ...] = ()
    chosen: bool = True
    """Whether a guest may leave the choice to the relay, by asking for port 0."""
    preferred: int = 0
    """The first choice of the relay; 0: none."""

    def allows(self, port: int) -> bool:
        return self.chosen if port == 0 else any(port in allowed for allowed in self.ranges)

    def candidates(self, port: int, owner: str) -> Iterator[int]:
        """The ports to try for a request, 0 standing for one that the system chooses.

        Where the relay chooses from a range, the same owner begins at the same place, and so has
        the same port again after a reconnection.
        """
        if port:
            yield port
            return
        if self.preferred:
            yield self.preferred
        if not self.ranges:
            yield 0
            return
        pool = [number for allowed in self.ranges for number in allowed]
        start = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:4], "big")
        for step in range(min(len(pool), _MOST_TRIES)):
            yield pool[(start + step) % len(pool)]


def parse_ports(text: str) -> Ports:
    """`0,8080,20000-30000`; raises ValueError for anything else."""
    ranges: list[range] = []
    chosen = False
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"{part!r} is neither a port nor a range of ports like 20000-30000")
        low, high = int(first), int(last or first)
        if not low <= high <= 65_535 or (dash and low == 0):
            raise ValueError(f"{part!r} is not within 1-65535")
        if high == 0:
            chosen = True
        else:
            ranges.append(range(low, high + 1))
    return Ports(tuple(ranges), chosen)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the relay one key, one address or everybody may take."""

    connections: int = 512
    """SSH connections in all."""
    startups: int = 100
    """SSH connections that have not logged in yet. From half of them on, a new one pushes out
    another with growing probability: of the address that has the most, the one that waits longest.
    """
    startups_per_address: int = 8
    """SSH connections from one address that have not logged in yet."""
    per_address: int = 16
    """SSH connections from one address (of IPv6: one /64 network)."""
    new_per_minute: int = 60
    """New SSH connections from one address in a minute."""
    per_key: int = 8
    """SSH connections with one key."""
    tunnels_per_key: int = 4
    visitors: int = 256
    """Visitors at one time, through one SSH connection."""
    visitors_in_all: int = 1024
    """Visitors at one time, of all tunnels."""
    visitors_per_address: int = 256
    """Connections from one address to the listener of the web sites."""
    wasted_per_minute: int = 60
    """Connections of visitors from one address in a minute that come to nothing: without a whole
    request, or ended because they held up the others. More are refused when they are accepted.
    """
    login_seconds: float = 20.0
    """How long a connection may go on without a key that is accepted."""
    key_offers: int = 20
    """How many keys one connection may try."""
    head_seconds: float = 15.0
    """How long the TLS handshake of a visitor may take, and the head of a request."""
    idle_seconds: float = 60.0
    """How long a connection of a visitor is kept between two requests."""
    stall_seconds: float = 30.0
    """How long a visitor may hold up a body or a response; each KiB that passes gives back one."""
    response_seconds: float = 300.0
    """How long a tunnel may be silent while a visitor waits for it."""
    channel_seconds: float = 10.0
    """How long a tunnel may take to accept a visitor."""


@dataclass(frozen=True, slots=True)
class Site:
    """Tunnels by host name, under one domain."""

    domain: str
    url: str
    """The announced URL, with `{name}` for the name of the tunnel and `{port}` for the port."""
    ports: frozenset[int] = frozenset({80, 443})
    """A guest that requests one of these gets a host name instead of a port."""

    def url_of(self, name: str, port: int) -> str:
        return normalise(self.url.replace("{name}", name).replace("{port}", str(port)))

    def name_of(self, host: str) -> str | None:
        """The name of the tunnel that this `Host` header or authority means."""
        host = host.lower()
        if host.endswith("]"):
            return None
        host = host.rpartition(":")[0] or host
        name, dot, domain = host.removesuffix(".").partition(".")
        return name if dot and domain == self.domain else None


def site_name(key: bytes, wanted: str) -> str:
    """The name of a key's tunnel, which is always the same and differs from that of other keys.

    `wanted` is the address on which the guest requested to listen. A label is put in front, so that
    one key can have several tunnels.
    """
    digest = hashlib.sha256(key).hexdigest()[:12]
    label = wanted.lower()
    return f"{label}-{digest}" if _LABEL.fullmatch(label) and label != "localhost" else digest


@dataclass(frozen=True, slots=True)
class RelaySettings:
    bind: str = "127.0.0.1"
    """The address of forwarded ports."""
    ports: Ports = field(default_factory=Ports)
    limits: Limits = field(default_factory=Limits)
    site: Site | None = None
    proxies: frozenset[str] = frozenset()
    """Addresses in front of the web sites that stand for many visitors."""
