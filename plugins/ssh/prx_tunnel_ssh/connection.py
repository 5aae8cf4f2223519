"""A tunnel through an SSH server: remote forwarding, and the public URL that leads to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import asyncssh

from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.errors import ConnectError
from prx_tunnel_core.models import Check
from prx_tunnel_core.programs import compile_pattern
from prx_tunnel_ssh.announcement import Announcement, wait_for_url
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.forwarding import WINDOW, Forwards, open_forwards
from prx_tunnel_ssh.transport import Access, Transport, open_transport, round_trip

# How long a health check waits for the answer to a keepalive, at most.
_CHECK_SECONDS = 5.0


class SshConnection(Connection):
    def __init__(
        self,
        transport: Transport,
        public_url: str,
        *,
        port: int,
        details: Mapping[str, str],
        patience: float,
    ) -> None:
        self.public_url = public_url
        self.port = port
        self.details = details
        self._transport = transport
        self._patience = patience
        self._ends: list[asyncio.Future[str]] = [transport.peer.lost]

    def ends_with(self, end: asyncio.Future[str]) -> None:
        """Add another event that ends this tunnel."""
        self._ends.append(end)

    async def wait_closed(self) -> str:
        await asyncio.wait(self._ends, return_when=asyncio.FIRST_COMPLETED)
        return next(end.result() for end in self._ends if end.done())

    async def check(self) -> Iterable[Check]:
        ended = next((end.result() for end in self._ends if end.done()), None)
        if ended is not None:
            return [Check("ssh", "fail", ended)]
        seconds = await round_trip(self._transport.connection, timeout=self._patience)
        if seconds is None:
            return [Check("ssh", "fail", f"no answer to a keepalive in {self._patience:g} s")]
        return [Check("ssh", "ok", f"the server answered in {seconds * 1000:.0f} ms")]

    async def abort(self) -> bool:
        self._transport.connection.abort()
        return True


@asynccontextmanager
async def open_tunnel(
    config: SshConfig, target: Target, access: Access | None = None
) -> AsyncIterator[SshConnection]:
    """Ask `config.host` to forward a port to the target."""
    async with open_forwards(target) as forwards, open_transport(config, access) as transport:
        forwards.congestion = transport.peer.congestion
        port = await _listen(config, transport, forwards)
        connection = await _connection(config, transport, port)
        yield connection


async def _listen(config: SshConfig, transport: Transport, forwards: Forwards) -> int:
    """Ask the server to listen; return the port that it chose or accepted."""
    try:
        listener = await transport.connection.create_server(
            forwards.session,
            config.listen_host,
            config.remote_port,
            window=WINDOW,
        )
    except asyncssh.ChannelListenError:
        if transport.peer.lost.done():
            raise ConnectError(transport.peer.lost.result()) from None
        raise ConnectError(_refusal(config)) from None
    except asyncssh.Error as error:
        raise ConnectError(
            f"{config.host} disconnected when it was asked to listen: {error}"
        ) from None
    return listener.get_port()


def _refusal(config: SshConfig) -> str:
    if not config.remote_port:
        return (
            f"{config.host} refused to forward a port: it has to allow remote forwarding for this "
            "user (OpenSSH: AllowTcpForwarding yes or remote, no PermitListen against it)"
        )
    return (
        f"{config.host} refused to forward port {config.remote_port}: either it is in use there, "
        "perhaps by an earlier connection that the server has not yet given up, or the server does "
        "not allow it (OpenSSH: AllowTcpForwarding, PermitListen; below 1024 only root)"
    )


async def _connection(config: SshConfig, transport: Transport, port: int) -> SshConnection:
    key = transport.connection.get_server_host_key()
    details = {
        "server": f"{config.host}:{config.port}",
        "forwarded port": str(port),
        "host key": "" if key is None else key.get_fingerprint(),
    }
    announcement = await _announcement(config, transport)
    url = config.url_of(port)
    if announcement is not None:
        url = await wait_for_url(
            announcement, transport.peer.lost, pattern=config.url_pattern or ""
        )
    patience = min(_CHECK_SECONDS, config.keepalive_interval * config.keepalive_count)
    connection = SshConnection(transport, url, port=port, details=details, patience=patience)
    if announcement is not None:
        connection.ends_with(announcement.ended)
    return connection


async def _announcement(config: SshConfig, transport: Transport) -> Announcement | None:
    if config.url_pattern is None:
        return None
    announcement = Announcement(compile_pattern(config.url_pattern))
    try:
        await transport.connection.create_session(
            lambda: announcement, request_pty=False, encoding=None
        )
    except (asyncssh.Error, OSError) as error:
        if transport.peer.lost.done():
            raise ConnectError(transport.peer.lost.result()) from None
        raise ConnectError(
            f"{config.host} refused the session for the announcement of the URL ({error}); "
            "set public_url instead of url_pattern"
        ) from None
    return announcement
