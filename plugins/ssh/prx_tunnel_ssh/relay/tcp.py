"""A forwarded port, whose visitors are all passed on to one guest."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import asyncssh
from typing_extensions import override

from prx_tunnel_ssh.forwarding import WINDOW, End, SocketEnd
from prx_tunnel_ssh.relay.limits import source_of
from prx_tunnel_ssh.relay.listening import Listener, listen
from prx_tunnel_ssh.relay.log import Log
from prx_tunnel_ssh.relay.tunnel import Lease, Tunnel


class PortTunnel(Tunnel):
    _listener: Listener | None = None

    async def listen(self, bind: str, port: int, log: Log) -> None:
        """Raises OSError when the port is not available."""
        self._listener = await listen(bind, port, self._accepted, log, buffers=WINDOW)
        self._port = self._listener.port

    @override
    def get_port(self) -> int:
        return self._port

    @property
    def listening(self) -> bool:
        return self._listener is not None and self._listener.listening

    @override
    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        super().close()

    def _accepted(self, connection: socket.socket, address: tuple[str, int]) -> bool:
        lease = self.lease
        visitor = _Visitor(lease, source_of(address[0]))
        if not (lease.has_room_for(visitor) and lease.crowd.arrive_at(visitor, lease.owner)):
            connection.close()
            return False
        lease.visitors.enter(visitor, visitor.source)
        lease.connection.create_task(self._pass_on(visitor, connection, address))
        return True

    async def _pass_on(
        self, visitor: _Visitor, connection: socket.socket, address: tuple[str, int]
    ) -> None:
        lease = self.lease
        channel = End(lease.ends, lease.congestion)
        channel.join(visitor)
        session = cast("asyncssh.SSHTCPSession[bytes]", channel)  # by its methods
        try:
            await visitor.take(connection)
            opening = lease.connection.create_connection(
                lambda: session, lease.host, lease.port or self._port, *address, window=lease.window
            )
            await lease.openings.open(opening, lambda _: channel.abort())
        except (asyncssh.Error, OSError, TimeoutError):
            # Nothing listens at the guest's end, or the guest does not answer or has disconnected.
            visitor.abort()
            channel.abort()


class _Visitor(SocketEnd):
    def __init__(self, lease: Lease, source: str) -> None:
        super().__init__(lease.ends)
        self.source = source
        self._lease = lease

    async def take(self, connection: socket.socket) -> None:
        """Be the end of this socket."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: self, connection)
        except BaseException:
            connection.close()
            self._leave()
            raise

    def evict(self) -> None:
        self._lease.crowd.waste(self)
        self.abort()

    @override
    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        self._lease.touch(self)
        super().data_received(data, datatype)

    @override
    def write(self, data: bytes) -> None:
        self._lease.touch(self)
        super().write(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._leave()

    def _leave(self) -> None:
        self._lease.visitors.leave(self)
        self._lease.crowd.leave(self)
