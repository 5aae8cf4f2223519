"""The ports and web sites that are taken, and by which connection."""

from __future__ import annotations

from dataclasses import dataclass

import asyncssh

from prx_tunnel_ssh.relay.limits import Places
from prx_tunnel_ssh.relay.tunnel import Tunnel
from prx_tunnel_ssh.relay.web import SiteTunnel


@dataclass(eq=False)
class Claim:
    """A place in the table: reserved for a connection first, then held by its tunnel."""

    owner: str
    """The fingerprint of the key."""
    connection: asyncssh.SSHServerConnection
    tunnel: Tunnel | None = None


class TunnelTable:
    def __init__(self, per_key: int) -> None:
        self._claims: dict[str, Claim] = {}
        self._counts = Places(per_key)

    def holder(self, place: str) -> Claim | None:
        return self._claims.get(place)

    def site(self, name: str) -> SiteTunnel | None:
        """The tunnel of the web site with this name."""
        claim = self.holder(site_place(name))
        tunnel = None if claim is None else claim.tunnel
        return tunnel if isinstance(tunnel, SiteTunnel) else None

    def take(self, place: str, claim: Claim) -> str | None:
        """Reserve a place; the reason when it cannot be had."""
        if place in self._claims:
            return "in use"
        if not self._counts.take(claim.owner):
            return "too many tunnels with this key"
        self._claims[place] = claim
        return None

    def release(self, place: str, claim: Claim) -> None:
        """Free the place, unless it belongs to another claim by now."""
        if self._claims.get(place) is claim:
            del self._claims[place]
            self._counts.give_back(claim.owner)


def site_place(name: str) -> str:
    return f"site {name}"
