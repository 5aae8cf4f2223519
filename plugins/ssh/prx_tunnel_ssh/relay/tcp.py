"""A forwarded port: whoever connects to it is passed on to one guest."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import asyncssh
from typing_extensions import override

from prx_tunnel_ssh.forwarding import End, SocketEnd
from prx_tunnel_ssh.relay.tunnel import WINDOW, Tunnel


class PortTunnel(Tunnel):
    _server: asyncio.Server | None = None
    _port = 0

    async def listen(self, bind: str, port: int) -> None:
        """Raises OSError when the port cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Visitor(self), bind, port, backlog=256)
        self._port = self._server.sockets[0].getsockname()[1]

    @override
    def get_port(self) -> int:
        return self._port

    @property
    def listening(self) -> bool:
        return self._server is not None and self._server.is_serving()

    @override
    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        super().close()

    def welcome(self, visitor: End, address: tuple[Any, ...]) -> None:
        if self.lease.visitors.full:
            visitor.abort()
            return
        self.lease.visitors.add(visitor)
        channel = End(self.lease.ends)
        channel.join(visitor)
        self.lease.connection.create_task(self._pass_on(visitor, channel, address))

    async def _pass_on(self, visitor: End, channel: End, address: tuple[Any, ...]) -> None:
        lease = self.lease
        session = cast("asyncssh.SSHTCPSession[bytes]", channel)  # by its methods
        try:
            await lease.connection.create_connection(
                lambda: session,
                lease.host,
                lease.port or self._port,
                str(address[0]),
                address[1],
                window=WINDOW,
            )
        except (asyncssh.Error, OSError):
            visitor.abort()  # nothing listens at the guest's end, or the guest has gone


class _Visitor(SocketEnd):
    def __init__(self, tunnel: PortTunnel) -> None:
        super().__init__(tunnel.lease.ends)
        self._tunnel = tunnel

    @override
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._tunnel.welcome(self, transport.get_extra_info("peername") or ("", 0))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._tunnel.lease.visitors.discard(self)
