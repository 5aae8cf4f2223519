"""What the tailnet's policy allows on this node.

`tailscale funnel` itself checks only the constant port 443: it announces "Available on the
internet" for a port that the ingress never serves. So the list is read here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs

HTTPS = "https"
FUNNEL = "funnel"
_FUNNEL_PORTS = "https://tailscale.com/cap/funnel-ports?"


@dataclass(frozen=True, slots=True)
class FunnelPorts:
    """The ports that may be public: `443,8443,10000`, or ranges such as `8000-8010`."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, port: int) -> bool:
        return any(first <= port <= last for first, last in self.ranges)

    def __str__(self) -> str:
        shown = (str(a) if a == b else f"{a}-{b}" for a, b in self.ranges)
        return ", ".join(shown) or "none"


def funnel_ports(capabilities: Iterable[str]) -> FunnelPorts:
    ranges: list[tuple[int, int]] = []
    for capability in sorted(capabilities):
        if capability.startswith(_FUNNEL_PORTS):
            listed = parse_qs(capability.removeprefix(_FUNNEL_PORTS)).get("ports", [""])[0]
            ranges += [found for item in listed.split(",") if (found := _range(item))]
    return FunnelPorts(tuple(ranges))


def _range(item: str) -> tuple[int, int] | None:
    first, dash, last = item.partition("-")
    try:
        bounds = int(first), int(last if dash else first)
    except ValueError:
        return None
    return bounds if 0 < bounds[0] <= bounds[1] <= 65_535 else None


def missing(capabilities: Iterable[str], *, public: bool) -> str | None:
    """The first capability that the mode needs and the node has not."""
    held = frozenset(capabilities)
    needed = (HTTPS, FUNNEL) if public else (HTTPS,)
    return next((each for each in needed if each not in held), None)
