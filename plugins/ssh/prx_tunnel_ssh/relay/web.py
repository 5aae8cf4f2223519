"""Web sites by host name: each request is routed by its own Host header.

One connection of a visitor may carry requests for several tunnels: a proxy in front keeps its
connections and uses them for whoever comes next. So a connection is never tied to the tunnel of its
first request. Requests and responses are parsed and framed anew by h11, which refuses what two
parsers could read in two ways; bodies are passed on as they are.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

import asyncssh
import h11
from typing_extensions import override

from prx_tunnel_ssh.relay.exchange import Visit, exchange
from prx_tunnel_ssh.relay.log import Log
from prx_tunnel_ssh.relay.settings import Site
from prx_tunnel_ssh.relay.tunnel import WINDOW, Lease, Tunnel

LARGEST_HEAD = 64 * 1024
_MOST_VISITORS = 4096
# The first bytes of a request, and the next request on a connection that is kept.
_HEAD_SECONDS = 15.0
_IDLE_SECONDS = 60.0


class SiteTunnel(Tunnel):
    def __init__(self, lease: Lease, url: str) -> None:
        super().__init__(lease)
        self.url = url

    @override
    def get_port(self) -> int:
        return self.lease.port

    async def open(
        self, address: str, port: int
    ) -> tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]:
        """A channel to the guest; raises asyncssh.Error or OSError when it does not take it."""
        lease = self.lease
        return await lease.connection.open_connection(
            lease.host, lease.port, address, port, window=WINDOW
        )


class Web:
    def __init__(self, site: Site, find: Callable[[str], SiteTunnel | None], log: Log) -> None:
        self._site = site
        self._find = find
        self._log = log
        self._visits: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Raises OSError when the address cannot be had."""
        self._server = await asyncio.start_server(
            self._visited,
            host,
            port,
            limit=LARGEST_HEAD,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else _HEAD_SECONDS,
        )

    @property
    def port(self) -> int:
        return 0 if self._server is None else int(self._server.sockets[0].getsockname()[1])

    async def end(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._visits):
            task.cancel()
        if self._visits:
            await asyncio.wait(self._visits)

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._visits) >= _MOST_VISITORS:
            writer.transport.abort()
            return
        self._visits.add(task)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        visit = Visit(reader, writer, LARGEST_HEAD)
        try:
            await self._serve(visit)
            await visit.finish()
        except (OSError, asyncssh.Error, h11.ProtocolError, asyncio.CancelledError):
            pass  # the visitor has gone, or is too slow, or the relay ends
        finally:
            self._visits.discard(task)
            writer.transport.abort()

    async def _serve(self, visit: Visit) -> None:
        patience = _HEAD_SECONDS
        while True:
            try:
                request = await asyncio.wait_for(visit.next_request(), patience)
            except h11.RemoteProtocolError as error:
                await visit.refuse(error.error_status_hint or 400, "this is not valid HTTP/1.1")
                return
            if request is None or not await self._answer(visit, request):
                return
            patience = _IDLE_SECONDS

    async def _answer(self, visit: Visit, request: h11.Request) -> bool:
        """Whether the connection can carry another request."""
        names = {name for name, _ in request.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            await visit.refuse(400, "the length of this request can be read in two ways")
            return False
        hosts = [value for name, value in request.headers if name == b"host"]
        name = self._site.name_of(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        tunnel = None if name is None else self._find(name)
        if tunnel is None:
            await visit.refuse(404, "there is no tunnel of this name at this moment")
        elif request.method == b"CONNECT":
            await visit.refuse(405, "this is no proxy")
        elif tunnel.lease.visitors.full:
            await visit.refuse(503, "this tunnel has as many visitors as it may have")
        else:
            return await self._pass_on(visit, request, tunnel)
        return False

    async def _pass_on(self, visit: Visit, request: h11.Request, tunnel: SiteTunnel) -> bool:
        tunnel.lease.visitors.add(visit)
        try:
            try:
                reader, writer = await tunnel.open(*visit.address)
            except (asyncssh.Error, OSError):
                await visit.refuse(502, "nothing listens at the other end of the tunnel")
                return False
            try:
                return await exchange(visit, request, reader, writer)
            finally:
                writer.channel.abort()
        finally:
            tunnel.lease.visitors.discard(visit)
