"""The tunnels of one guest: ports and web sites."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Callable

import asyncssh

from prx_tunnel_ssh.congestion import Congestion
from prx_tunnel_ssh.forwarding import End
from prx_tunnel_ssh.relay.crowd import Visitor
from prx_tunnel_ssh.relay.openings import Openings
from prx_tunnel_ssh.relay.pool import Pool
from prx_tunnel_ssh.relay.settings import Site, site_name
from prx_tunnel_ssh.relay.state import RelayState
from prx_tunnel_ssh.relay.tcp import PortTunnel
from prx_tunnel_ssh.relay.tunnel import Lease, Tunnel
from prx_tunnel_ssh.relay.tunnel_table import Claim, site_place
from prx_tunnel_ssh.relay.web import SiteTunnel
from prx_tunnel_ssh.transport import round_trip

_numbers = itertools.count(1)
# How long an earlier connection of the same key may take to answer a keepalive.
_PROOF_OF_LIFE_SECONDS = 3.0
# How long visitors may take to read what is left when the guest has gone.
_LAST_WORDS_SECONDS = 5.0


class Grants:
    def __init__(
        self,
        state: RelayState,
        connection: asyncssh.SSHServerConnection,
        congestion: Congestion,
        key: asyncssh.SSHKey,
        log: Callable[..., None],
    ) -> None:
        limits = state.settings.limits
        self._connection = connection
        self._congestion = congestion
        self._openings = Openings(limits.visitors, limits.channel_seconds, state.tasks)
        self.owner = key.get_fingerprint()
        self._key = key
        self._state = state
        self._log = log
        self._claims: dict[str, Claim] = {}
        """The places of its tunnels."""
        self._ended = False
        self._visitors: Pool[Visitor] = Pool(limits.visitors)
        self.announce: Callable[[str], None] = lambda _url: None

    async def grant(self, host: str, port: int) -> Tunnel | None:
        """Open the tunnel that the guest requests; None when the request is refused."""
        tunnel = await self._granted(host, port)
        if self._ended and tunnel is not None:
            # The guest has disconnected meanwhile, and asyncssh closes only tunnels that it knows.
            tunnel.close()
            return None
        return tunnel

    async def _granted(self, host: str, port: int) -> Tunnel | None:
        site = self._state.settings.site
        if site is not None and port in site.ports:
            return await self._site(site, host, port)
        if self._state.settings.ports.allows(port):
            return await self._port(host, port)
        self._log("forwarding refused", port=port, reason="the port is not among those allowed")
        return None

    @property
    def urls(self) -> list[str]:
        """The URLs of its web sites."""
        return [t.url for t in self._tunnels if isinstance(t, SiteTunnel)]

    @property
    def listening(self) -> bool:
        """Whether a port is open for visitors."""
        return any(isinstance(t, PortTunnel) and t.listening for t in self._tunnels)

    def end(self) -> None:
        """Close its tunnels when it has disconnected; visitors may still read what is buffered."""
        self._ended = True
        self.close()
        left: list[End] = [each for each in self._visitors if isinstance(each, End)]
        if left:
            asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, _abort, left)

    def close(self) -> None:
        for tunnel in self._tunnels:
            tunnel.close()

    @property
    def _tunnels(self) -> list[Tunnel]:
        return [claim.tunnel for claim in self._claims.values() if claim.tunnel is not None]

    async def _site(self, site: Site, host: str, port: int) -> Tunnel | None:
        name = site_name(self._key.public_data, host)
        place = site_place(name)
        claim = await self._take(place)
        if claim is None:
            return None
        url = site.url_of(name, self._state.web_port)
        tunnel = SiteTunnel(self._lease(place, host, port), url)
        self._keep(place, claim, tunnel, url=url)
        self.announce(url)
        return tunnel

    async def _port(self, host: str, port: int) -> Tunnel | None:
        for candidate in self._state.settings.ports.candidates(port, f"{self.owner} {host}"):
            place = f"port {candidate or f'of choice {next(_numbers)}'}"
            claim = await self._take(place)
            if claim is None:
                continue
            tunnel = PortTunnel(self._lease(place, host, port))
            try:
                await tunnel.listen(self._state.settings.bind, candidate, self._state.log)
            except OSError as error:
                self._state.tunnels.release(place, claim)
                self._log("port not free", port=candidate, reason=error.strerror or error)
                continue
            self._keep(place, claim, tunnel, port=tunnel.get_port())
            return tunnel
        return None

    def _lease(self, place: str, host: str, port: int) -> Lease:
        closed = functools.partial(self._closed, place)
        return Lease(
            connection=self._connection,
            congestion=self._congestion,
            openings=self._openings,
            owner=self.owner,
            host=host,
            port=port,
            visitors=self._visitors,
            crowd=self._state.crowd,
            ends=self._state.ends,
            on_close=closed,
        )

    async def _take(self, place: str) -> Claim | None:
        """Reserve a place, also from a connection of the same key that does not answer any more.

        A guest that reconnects after its network was cut off gets back what the relay still holds
        for it; of two connections that answer, the first keeps the place.
        """
        await self._abort_if_dead(self._state.tunnels.holder(place))
        claim = Claim(self.owner, self._connection)
        refusal = self._state.tunnels.take(place, claim)
        if refusal is not None:
            self._log("forwarding refused", place=place, reason=refusal)
            return None
        return claim

    async def _abort_if_dead(self, holder: Claim | None) -> None:
        if holder is None or holder.connection is self._connection or holder.owner != self.owner:
            return
        if await round_trip(holder.connection, timeout=_PROOF_OF_LIFE_SECONDS) is None:
            self._log("earlier connection is dead")
            holder.connection.abort()
            await holder.connection.wait_closed()

    def _keep(self, place: str, claim: Claim, tunnel: Tunnel, **fields: object) -> None:
        claim.tunnel = tunnel
        self._claims[place] = claim
        self._log("forwarding", **fields)

    def _closed(self, place: str) -> None:
        claim = self._claims.pop(place, None)
        if claim is not None:
            self._state.tunnels.release(place, claim)
            self._log("forwarding ended", place=place)


def _abort(ends: list[End]) -> None:
    for end in ends:
        end.abort()
