"""The relay as a whole."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncssh
from anyio import CancelScope

from prx_tunnel_core.errors import ConnectError
from prx_tunnel_ssh.forwarding import End
from prx_tunnel_ssh.relay.grants import Grants
from prx_tunnel_ssh.relay.guest import Guest
from prx_tunnel_ssh.relay.keys import Admits
from prx_tunnel_ssh.relay.limits import Places, Rate
from prx_tunnel_ssh.relay.log import Log
from prx_tunnel_ssh.relay.settings import RelaySettings
from prx_tunnel_ssh.relay.web import SiteTunnel, Web
from prx_tunnel_ssh.wholly import wholly

# A guest that is silent for 45 seconds is gone, and its ports are free again.
_KEEPALIVE_SECONDS = 15.0
_KEEPALIVE_COUNT = 2


class Relay:
    """Who is connected, and what is taken. Made by `open_relay`."""

    def __init__(self, settings: RelaySettings, admits: Admits, log: Log) -> None:
        limits = settings.limits
        self.settings = settings
        self.admits = admits
        self.log = log
        self.guests: set[Guest] = set()
        self.places: dict[str, Grants] = {}
        """Ports and sites that are taken, and by whom."""
        self.ends: set[End] = set()
        self.sources = Places(limits.per_address)
        self.owners = Places(limits.per_key)
        self.tunnels = Places(limits.tunnels_per_key)
        self.web: Web | None = None
        self._leftovers: set[asyncio.Task[None]] = set()
        self._arrivals = Rate(limits.new_per_minute)
        self._acceptor: asyncssh.SSHAcceptor | None = None

    @property
    def port(self) -> int:
        """The port of the SSH server."""
        return 0 if self._acceptor is None else self._acceptor.get_port()

    @property
    def web_port(self) -> int:
        """The port of the sites; 0: there are none."""
        return 0 if self.web is None else self.web.port

    def refusal(self, source: str) -> str | None:
        """Count a new connection; why it cannot stay, or None."""
        if not self._arrivals.allows(source):
            return "too many connections in a minute"
        if len(self.guests) >= self.settings.limits.connections:
            return "the relay is full"
        if not self.sources.take(source):
            return "too many connections from this address"
        return None

    def find_site(self, name: str) -> SiteTunnel | None:
        holder = self.places.get(f"site {name}")
        return None if holder is None else holder.site(name)

    def outlasted_by(self, connection: asyncssh.SSHServerConnection) -> None:
        """Remember what asyncssh is still doing for a connection that is closed.

        A moment later it is done. To cancel it would be worse: a port may be half open.
        """
        for task in tuple(connection._tasks):  # noqa: SLF001
            self._leftovers.add(task)
            task.add_done_callback(self._leftovers.discard)

    def abort(self) -> None:
        """Cut everything at once, as a power failure would."""
        if self._acceptor is not None:
            self._acceptor.close()
        for guest in tuple(self.guests):
            if guest.grants is not None:
                guest.grants.close()
            guest.connection.abort()
        for end in tuple(self.ends):
            end.abort()

    async def listen(self, host: str, port: int, host_key: asyncssh.SSHKey) -> None:
        listening = asyncssh.listen(
            host,
            port,
            server_factory=lambda: Guest(self),
            server_host_keys=[host_key],
            login_timeout=self.settings.limits.login_seconds,
            keepalive_interval=_KEEPALIVE_SECONDS,
            keepalive_count_max=_KEEPALIVE_COUNT,
            compression_algs=["none"],  # no bombs
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
        )
        self._acceptor = await wholly(listening, undo=_close, interrupt=False)

    async def end(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        if self.web is not None:
            await self.web.end()
        for guest in tuple(self.guests):
            guest.connection.close()
            await guest.connection.wait_closed()
        while self.ends or self._leftovers:
            for end in tuple(self.ends):
                end.abort()
            await asyncio.wait({*self._leftovers, asyncio.ensure_future(asyncio.sleep(0))})
        if self._acceptor is not None:
            await self._acceptor.wait_closed()


async def _close(acceptor: asyncssh.SSHAcceptor) -> None:
    acceptor.close()
    await acceptor.wait_closed()


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
    relay = Relay(settings, admits, log or Log())
    try:
        try:
            await relay.listen(*listen, host_key)
            if web is not None and settings.site is not None:
                relay.web = Web(settings.site, relay.find_site, relay.log)
                await relay.web.listen(*web, tls)
        except OSError as error:
            raise ConnectError(f"the relay cannot listen: {error.strerror or error}") from None
        yield relay
    finally:
        with CancelScope(shield=True):
            await relay.end()
