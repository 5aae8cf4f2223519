"""The relay: its listeners, its SSH connections, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncssh
from anyio import CancelScope

from prx_tunnel_core.errors import ConnectError
from prx_tunnel_ssh.relay.algorithms import accepts_signature, agreed_on
from prx_tunnel_ssh.relay.guest import Guest
from prx_tunnel_ssh.relay.keys import Admits
from prx_tunnel_ssh.relay.limits import Places, Rate, source_of
from prx_tunnel_ssh.relay.listening import Listener, listen
from prx_tunnel_ssh.relay.log import Log
from prx_tunnel_ssh.relay.settings import Limits, RelaySettings, Site
from prx_tunnel_ssh.relay.state import RelayState
from prx_tunnel_ssh.relay.web import Web

# A guest that is silent for 45 seconds is disconnected, which frees its ports.
_KEEPALIVE_SECONDS = 15.0
_KEEPALIVE_COUNT = 2


class Relay:
    """Accepts SSH connections and visitors. `open_relay` makes one."""

    def __init__(
        self, settings: RelaySettings, admits: Admits, host_key: asyncssh.SSHKey, log: Log
    ) -> None:
        limits = settings.limits
        self.guests: set[Guest] = set()
        self._state = RelayState(settings, admits, log)
        self._limits = limits
        self._web: Web | None = None
        self._sources = Places(limits.per_address)
        self._arrivals = Rate(limits.new_per_minute)
        self._options = _options(limits, host_key)
        self._listener: Listener | None = None

    @property
    def port(self) -> int:
        """The port of the SSH server."""
        return 0 if self._listener is None else self._listener.port

    @property
    def web_port(self) -> int:
        """The port of the web sites; 0 when there are none."""
        return self._state.web_port

    def _leave(self, guest: Guest) -> None:
        if guest in self.guests:
            self.guests.discard(guest)
            self._state.startups.leave(guest)
            self._sources.give_back(guest.source)

    def _refusal(self, source: str) -> str | None:
        """Count a new connection; the reason when it is refused."""
        limits, startups = self._limits, self._state.startups
        if not self._arrivals.allows(source):
            return "too many connections in a minute"
        if len(self.guests) >= limits.connections and not startups.make_room(source):
            return "the relay is full"
        if startups.count(source) >= limits.startups_per_address:
            return "too many connections from this address that have not logged in"
        if not startups.has_room(source):
            return "too many connections that have not logged in"
        if not self._sources.take(source):
            return "too many connections from this address"
        return None

    def _accepted(self, connection: socket.socket, address: tuple[str, int]) -> bool:
        refusal = self._refusal(source_of(address[0]))
        if refusal is not None:
            self._state.log.limited("connection refused", address=address[0], reason=refusal)
            connection.close()
            return False
        guest = Guest(self._state, self._options, address[0], self._leave)
        self.guests.add(guest)
        self._state.startups.enter(guest)
        task = asyncio.get_running_loop().create_task(self._receive(guest, connection))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)
        return True

    def abort(self) -> None:
        """Close all sockets at once, as a power failure would."""
        if self._listener is not None:
            self._listener.close()
        for guest in tuple(self.guests):
            if guest.grants is not None:
                guest.grants.close()
            guest.connection.abort()
        for end in tuple(self._state.ends):
            end.abort()

    async def listen_for_visitors(
        self, site: Site, address: tuple[str, int], tls: ssl.SSLContext | None
    ) -> None:
        """Serve the web sites; raises OSError when the address is not available."""
        state = self._state
        self._web = Web(site, state.tunnels.site, state.log, limits=self._limits, crowd=state.crowd)
        await self._web.listen(*address, tls)
        state.web_port = self._web.port

    async def listen(self, host: str, port: int) -> None:
        """Raises OSError when the address is not available."""
        self._listener = await listen(host, port, self._accepted, self._state.log)

    async def end(self) -> None:
        """Close everything, and wait for tasks that outlast their connection.

        They end within a moment. To cancel them would be worse: a port may be half open.
        """
        if self._listener is not None:
            self._listener.close()
        if self._web is not None:
            await self._web.end()
        for guest in tuple(self.guests):
            guest.connection.close()
            await guest.connection.wait_closed()
        state = self._state
        while state.ends or state.tasks:
            for end in tuple(state.ends):
                end.abort()
            await asyncio.wait({*state.tasks, asyncio.ensure_future(asyncio.sleep(0))})

    async def _receive(self, guest: Guest, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: guest.connection, connection
            )
        except OSError:
            connection.close()
            self._leave(guest)


def _options(limits: Limits, host_key: asyncssh.SSHKey) -> asyncssh.SSHServerConnectionOptions:
    options = asyncssh.SSHServerConnectionOptions(
        server_host_keys=[host_key],
        login_timeout=limits.login_seconds,
        keepalive_interval=_KEEPALIVE_SECONDS,
        keepalive_count_max=_KEEPALIVE_COUNT,
        # `admits` decides about keys; () would mean the files of the user's own account.
        authorized_client_keys=None,
        config=None,
        gss_host=None,
        host_based_auth=False,
        password_auth=False,
        kbdint_auth=False,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        allow_scp=False,
        encoding=None,
        **agreed_on(),
    )
    # asyncssh would sign with SHA-1 for a client that asks an RSA host key for it.
    for name in tuple(options.server_host_keys):
        if not accepts_signature(name):
            del options.server_host_keys[name]
    return options


@asynccontextmanager
async def open_relay(
    settings: RelaySettings,
    admits: Admits,
    *,
    host_key: asyncssh.SSHKey,
    listen: tuple[str, int] = ("127.0.0.1", 0),
    web: tuple[str, int] | None = None,
    tls: ssl.SSLContext | None = None,
    log: Log | None = None,
) -> AsyncIterator[Relay]:
    """A relay that serves as long as the context is open.

    `web` is the address of the HTTP listener of all web sites. Raises ConnectError when an address
    is not available.
    """
    relay = Relay(settings, admits, host_key, log or Log())
    try:
        try:
            await relay.listen(*listen)
            if web is not None and settings.site is not None:
                await relay.listen_for_visitors(settings.site, web, tls)
        except OSError as error:
            raise ConnectError(f"the relay cannot listen: {error.strerror or error}") from None
        yield relay
    finally:
        with CancelScope(shield=True):
            await relay.end()
