"""What one guest has been granted: ports, and web sites."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import asyncssh

from prx_tunnel_ssh.congestion import Congestion
from prx_tunnel_ssh.forwarding import End
from prx_tunnel_ssh.keepalive import round_trip
from prx_tunnel_ssh.relay.crowd import Visitor
from prx_tunnel_ssh.relay.openings import Openings
from prx_tunnel_ssh.relay.pool import Pool
from prx_tunnel_ssh.relay.settings import Site, site_name
from prx_tunnel_ssh.relay.tcp import PortTunnel
from prx_tunnel_ssh.relay.tunnel import Lease, Tunnel
from prx_tunnel_ssh.relay.web import SiteTunnel

if TYPE_CHECKING:
    from prx_tunnel_ssh.relay.server import Relay

_numbers = itertools.count(1)
# How long an earlier connection of the same key has to prove that it still lives.
_PROOF_OF_LIFE_SECONDS = 3.0
# How long visitors may take to read what is left when the guest has gone.
_LAST_WORDS_SECONDS = 5.0


class Grants:
    def __init__(
        self,
        relay: Relay,
        connection: asyncssh.SSHServerConnection,
        congestion: Congestion,
        key: asyncssh.SSHKey,
        log: Callable[..., None],
    ) -> None:
        limits = relay.settings.limits
        self.connection = connection
        self._congestion = congestion
        self._openings = Openings(limits.visitors, limits.channel_seconds, relay.leftovers)
        self.owner = key.get_fingerprint()
        self._key = key
        self._relay = relay
        self._log = log
        self._tunnels: dict[str, Tunnel] = {}
        self._ended = False
        self._visitors: Pool[Visitor] = Pool(limits.visitors)
        self.announce: Callable[[str], None] = lambda _url: None

    async def grant(self, host: str, port: int) -> Tunnel | None:
        """The tunnel that the guest asked for, or None when it cannot have it."""
        tunnel = await self._granted(host, port)
        if self._ended and tunnel is not None:
            # The guest left meanwhile, and asyncssh would keep what nobody closes.
            tunnel.close()
            return None
        return tunnel

    async def _granted(self, host: str, port: int) -> Tunnel | None:
        site = self._relay.settings.site
        if site is not None and port in site.ports:
            return await self._site(site, host, port)
        if self._relay.settings.ports.allows(port):
            return await self._port(host, port)
        self._log("forwarding refused", port=port, reason="the port is not among those allowed")
        return None

    @property
    def urls(self) -> list[str]:
        """Those of its web sites."""
        return [t.url for t in self._tunnels.values() if isinstance(t, SiteTunnel)]

    @property
    def listening(self) -> bool:
        """Whether a port is open for visitors."""
        return any(isinstance(t, PortTunnel) and t.listening for t in self._tunnels.values())

    def end(self) -> None:
        """The guest has gone: let its visitors read what is left, but not for ever."""
        self._ended = True
        self.close()
        left: list[End] = [each for each in self._visitors if isinstance(each, End)]
        if left:
            asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, _abort, left)

    def close(self) -> None:
        for tunnel in tuple(self._tunnels.values()):
            tunnel.close()

    async def _site(self, site: Site, host: str, port: int) -> Tunnel | None:
        name = site_name(self._key.public_data, host)
        place = f"site {name}"
        if not await self._take(place):
            return None
        url = site.url_of(name, self._relay.web_port)
        tunnel = SiteTunnel(self._lease(place, host, port), url)
        self._keep(place, tunnel, url=url)
        self.announce(url)
        return tunnel

    async def _port(self, host: str, port: int) -> Tunnel | None:
        for candidate in self._relay.settings.ports.candidates(port, f"{self.owner} {host}"):
            place = f"port {candidate or f'of choice {next(_numbers)}'}"
            if not await self._take(place):
                continue
            tunnel = PortTunnel(self._lease(place, host, port))
            try:
                await tunnel.listen(self._relay.settings.bind, candidate, self._relay.log)
            except OSError as error:
                self._release(place)
                self._log("port not free", port=candidate, reason=error.strerror or error)
                continue
            self._keep(place, tunnel, port=tunnel.get_port())
            return tunnel
        return None

    def _lease(self, place: str, host: str, port: int) -> Lease:
        closed = functools.partial(self._closed, place)
        return Lease(
            connection=self.connection,
            congestion=self._congestion,
            openings=self._openings,
            owner=self.owner,
            host=host,
            port=port,
            visitors=self._visitors,
            crowd=self._relay.crowd,
            ends=self._relay.ends,
            on_close=closed,
        )

    async def _take(self, place: str) -> bool:
        """Reserve the place, from an earlier connection of the same key too when that is dead.

        A guest that reconnects after its network was cut off gets back what the relay still holds
        for it; of two that live, the first keeps it.
        """
        await self._bury(self._relay.places.get(place))
        if place in self._relay.places:
            self._log("forwarding refused", place=place, reason="in use")
            return False
        if not self._relay.tunnels.take(self.owner):
            self._log("forwarding refused", place=place, reason="too many tunnels with this key")
            return False
        self._relay.places[place] = self
        return True

    async def _bury(self, holder: Grants | None) -> None:
        if holder is None or holder is self or holder.owner != self.owner:
            return
        if await round_trip(holder.connection, timeout=_PROOF_OF_LIFE_SECONDS) is None:
            self._log("earlier connection is dead")
            holder.connection.abort()
            await holder.connection.wait_closed()

    def _release(self, place: str) -> None:
        if self._relay.places.get(place) is self:
            del self._relay.places[place]
            self._relay.tunnels.give_back(self.owner)

    def _keep(self, place: str, tunnel: Tunnel, **fields: object) -> None:
        self._tunnels[place] = tunnel
        self._log("forwarding", **fields)

    def _closed(self, place: str) -> None:
        if self._tunnels.pop(place, None) is not None:
            self._release(place)
            self._log("forwarding ended", place=place)

    def site(self, name: str) -> SiteTunnel | None:
        tunnel = self._tunnels.get(f"site {name}")
        return tunnel if isinstance(tunnel, SiteTunnel) else None


def _abort(ends: list[End]) -> None:
    for end in ends:
        end.abort()
