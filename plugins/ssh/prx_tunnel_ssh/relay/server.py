"""The relay as a whole."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncssh
from anyio import CancelScope

from prx_tunnel_core.errors import ConnectError
from prx_tunnel_ssh.forwarding import End
from prx_tunnel_ssh.relay.algorithms import accepts_signature, agreed_on
from prx_tunnel_ssh.relay.crowd import Crowd
from prx_tunnel_ssh.relay.grants import Grants
from prx_tunnel_ssh.relay.guest import Guest
from prx_tunnel_ssh.relay.keys import Admits
from prx_tunnel_ssh.relay.limits import Places, Rate, source_of
from prx_tunnel_ssh.relay.listening import Listener, listen
from prx_tunnel_ssh.relay.log import Log
from prx_tunnel_ssh.relay.settings import Limits, RelaySettings, Site
from prx_tunnel_ssh.relay.startups import Startups
from prx_tunnel_ssh.relay.web import SiteTunnel, Web

# A guest that is silent for 45 seconds is gone, and its ports are free again.
_KEEPALIVE_SECONDS = 15.0
_KEEPALIVE_COUNT = 2


class Relay:
    """Who is connected, and what is taken. Made by `open_relay`."""

    def __init__(
        self, settings: RelaySettings, admits: Admits, host_key: asyncssh.SSHKey, log: Log
    ) -> None:
        limits = settings.limits
        self.settings = settings
        self.admits = admits
        self.log = log
        self.guests: set[Guest] = set()
        self.startups = Startups(limits)
        """Those among them that have not logged in yet."""
        self.places: dict[str, Grants] = {}
        """Ports and sites that are taken, and by whom."""
        self.ends: set[End] = set()
        self.leftovers: set[asyncio.Task[Any]] = set()
        """What goes on for a moment after that which it was for has ended."""
        self.crowd = Crowd(limits, settings.proxies)
        self.owners = Places(limits.per_key)
        self.tunnels = Places(limits.tunnels_per_key)
        self.web: Web | None = None
        self._sources = Places(limits.per_address)
        self._arrivals = Rate(limits.new_per_minute)
        self._options = _options(settings.limits, host_key)
        self._listener: Listener | None = None

    @property
    def port(self) -> int:
        """The port of the SSH server."""
        return 0 if self._listener is None else self._listener.port

    @property
    def web_port(self) -> int:
        """The port of the sites; 0: there are none."""
        return 0 if self.web is None else self.web.port

    def leave(self, guest: Guest) -> None:
        """A guest has gone."""
        if guest in self.guests:
            self.guests.discard(guest)
            self.startups.leave(guest)
            self._sources.give_back(guest.source)

    def _refusal(self, source: str) -> str | None:
        """Count a new connection; why it cannot stay, or None."""
        limits = self.settings.limits
        if not self._arrivals.allows(source):
            return "too many connections in a minute"
        if len(self.guests) >= limits.connections and not self.startups.make_room(source):
            return "the relay is full"
        if self.startups.count(source) >= limits.startups_per_address:
            return "too many connections from this address that have not logged in"
        if not self.startups.has_room(source):
            return "too many connections that have not logged in"
        if not self._sources.take(source):
            return "too many connections from this address"
        return None

    def _accepted(self, connection: socket.socket, address: tuple[str, int]) -> bool:
        refusal = self._refusal(source_of(address[0]))
        if refusal is not None:
            self.log.limited("connection refused", address=address[0], reason=refusal)
            connection.close()
            return False
        guest = Guest(self, self._options, address[0])
        self.guests.add(guest)
        self.startups.enter(guest)
        task = asyncio.get_running_loop().create_task(self._receive(guest, connection))
        self.leftovers.add(task)
        task.add_done_callback(self.leftovers.discard)
        return True

    def find_site(self, name: str) -> SiteTunnel | None:
        holder = self.places.get(f"site {name}")
        return None if holder is None else holder.site(name)

    def outlasted_by(self, connection: asyncssh.SSHServerConnection) -> None:
        """Remember what asyncssh is still doing for a connection that is closed.

        A moment later it is done. To cancel it would be worse: a port may be half open.
        """
        for task in tuple(connection._tasks):  # noqa: SLF001
            self.leftovers.add(task)
            task.add_done_callback(self.leftovers.discard)

    def abort(self) -> None:
        """Cut everything at once, as a power failure would."""
        if self._listener is not None:
            self._listener.close()
        for guest in tuple(self.guests):
            if guest.grants is not None:
                guest.grants.close()
            guest.connection.abort()
        for end in tuple(self.ends):
            end.abort()

    async def listen_for_visitors(
        self, site: Site, address: tuple[str, int], tls: ssl.SSLContext | None
    ) -> None:
        """Serve the web sites; raises OSError when the address cannot be had."""
        self.web = Web(
            site, self.find_site, self.log, limits=self.settings.limits, crowd=self.crowd
        )
        await self.web.listen(*address, tls)

    async def listen(self, host: str, port: int) -> None:
        """Raises OSError when the address cannot be had."""
        self._listener = await listen(host, port, self._accepted, self.log)

    async def end(self) -> None:
        if self._listener is not None:
            self._listener.close()
        if self.web is not None:
            await self.web.end()
        for guest in tuple(self.guests):
            guest.connection.close()
            await guest.connection.wait_closed()
        while self.ends or self.leftovers:
            for end in tuple(self.ends):
                end.abort()
            await asyncio.wait({*self.leftovers, asyncio.ensure_future(asyncio.sleep(0))})

    async def _receive(self, guest: Guest, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: guest.connection, connection
            )
        except OSError:
            connection.close()
            self.leave(guest)


def _options(limits: Limits, host_key: asyncssh.SSHKey) -> asyncssh.SSHServerConnectionOptions:
    options = asyncssh.SSHServerConnectionOptions(
        server_host_keys=[host_key],
        login_timeout=limits.login_seconds,
        keepalive_interval=_KEEPALIVE_SECONDS,
        keepalive_count_max=_KEEPALIVE_COUNT,
        # Who may come in, `admits` says; () would mean the files of the user's own account.
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

    `web` is the address of the sites' one HTTP listener. Raises ConnectError when an address cannot
    be had.
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
