"""Web sites by host name: each request is routed by its own Host header.

One connection may carry requests for several tunnels: a proxy in front of the relay keeps its
connections and uses them for all visitors. So a connection is never tied to the tunnel of its first
request. h11 parses requests and responses and frames them anew, and refuses messages that two
parsers could read in two ways; bodies are passed on unchanged.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

import asyncssh
import h11
from anyio.abc import ByteStream, SocketStream
from anyio.streams.tls import TLSStream
from typing_extensions import override

from prx_tunnel_ssh.forwarding import WINDOW
from prx_tunnel_ssh.relay.channel import BulkQueue, Channel
from prx_tunnel_ssh.relay.crowd import Crowd
from prx_tunnel_ssh.relay.exchange import exchange
from prx_tunnel_ssh.relay.limits import source_of
from prx_tunnel_ssh.relay.listening import Listener, listen
from prx_tunnel_ssh.relay.log import Log
from prx_tunnel_ssh.relay.settings import Limits, Site
from prx_tunnel_ssh.relay.tunnel import Lease, Tunnel
from prx_tunnel_ssh.relay.visit import GONE, Visit


class SiteTunnel(Tunnel):
    def __init__(self, lease: Lease, url: str) -> None:
        super().__init__(lease)
        self.url = url

    @override
    def get_port(self) -> int:
        return self.lease.port

    async def open(self, address: tuple[str, int], patience: float, bulk: BulkQueue) -> Channel:
        """A channel to the guest.

        Raises asyncssh.Error or OSError when the guest refuses it, TimeoutError when it does not
        answer.
        """
        lease = self.lease
        channel = Channel(lease.congestion, patience, bulk)
        opening = lease.connection.create_connection(
            lambda: channel, lease.host, lease.port, *address, window=lease.window
        )
        await lease.openings.open(opening, lambda _: channel.abort())
        return channel


class Web:
    """The HTTP listener of all web sites."""

    def __init__(
        self,
        site: Site,
        find: Callable[[str], SiteTunnel | None],
        log: Log,
        *,
        limits: Limits | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        self.site = site
        self.find = find
        self.limits = Limits() if limits is None else limits
        self.crowd = Crowd(self.limits) if crowd is None else crowd
        self.bulk = BulkQueue()
        self.tls: ssl.SSLContext | None = None
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: Listener | None = None

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Raises OSError when the address is not available."""
        self.tls = tls
        self._listener = await listen(host, port, self._accepted, self._log, buffers=WINDOW)

    @property
    def port(self) -> int:
        return 0 if self._listener is None else self._listener.port

    async def end(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accepted(self, connection: socket.socket, address: tuple[str, int]) -> bool:
        visitor = _Visitor(self, address)
        if not self.crowd.arrive(visitor):
            self._log.limited("visitor refused", address=address[0], reason="too many connections")
            connection.close()
            return False
        task = visitor.start(connection)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True


class _Visitor:
    """A connection to the web sites, from when it is accepted."""

    _task: asyncio.Task[None]

    def __init__(self, web: Web, address: tuple[str, int]) -> None:
        self.source = source_of(address[0])
        self._web = web
        self._address = address
        self._lease: Lease | None = None
        self._answered = False

    def start(self, connection: socket.socket) -> asyncio.Task[None]:
        self._task = asyncio.get_running_loop().create_task(self._run(connection))
        # Also when it is evicted before it has started.
        self._task.add_done_callback(lambda _: connection.close())
        return self._task

    def evict(self) -> None:
        self._task.cancel()

    async def _run(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            async with await _stream(connection) as plain:
                visit = Visit(await self._handshake(plain), self._web.limits, self._moved)
                await self._serve(visit)
                self._web.crowd.finish(self)
                await visit.finish()
        except (*GONE, asyncssh.Error, h11.ProtocolError, asyncio.CancelledError):
            pass  # the visitor has disconnected, is too slow or is evicted, or the relay ends
        finally:
            self._web.crowd.leave(self)
            if not self._answered:
                self._web.crowd.waste(self)

    def _moved(self) -> None:
        if self._lease is not None:
            self._lease.touch(self)

    async def _handshake(self, plain: SocketStream) -> ByteStream:
        if self._web.tls is None:
            return plain
        async with asyncio.timeout(self._web.limits.head_seconds):
            return await TLSStream.wrap(
                plain, server_side=True, ssl_context=self._web.tls, standard_compatible=False
            )

    async def _serve(self, visit: Visit) -> None:
        patience = self._web.limits.head_seconds
        while True:
            try:
                request = await asyncio.wait_for(visit.next_request(), patience)
            except h11.RemoteProtocolError as error:
                await visit.refuse(error.error_status_hint or 400, "this is not valid HTTP/1.1")
                return
            if request is None or not await self._answer(visit, request):
                return
            patience = self._web.limits.idle_seconds

    async def _answer(self, visit: Visit, request: h11.Request) -> bool:
        """Whether the connection can carry another request."""
        names = {name for name, _ in request.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            await visit.refuse(400, "the length of this request can be read in two ways")
            return False
        hosts = [value for name, value in request.headers if name == b"host"]
        name = self._web.site.name_of(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        tunnel = None if name is None else self._web.find(name)
        if tunnel is None:
            await visit.refuse(404, "there is no tunnel of this name at this moment")
        elif request.method == b"CONNECT":
            await visit.refuse(405, "this is no proxy")
        elif not tunnel.lease.has_room_for(self):
            await visit.refuse(503, "this tunnel has as many visitors as it may have")
        else:
            return await self._visit(visit, request, tunnel)
        self._answered = True
        return False

    async def _visit(self, visit: Visit, request: h11.Request, tunnel: SiteTunnel) -> bool:
        lease = self._lease = tunnel.lease
        lease.visitors.enter(self, self.source)
        self._web.crowd.serve(self, lease.owner)
        try:
            again = await self._pass_on(visit, request, tunnel)
        except TimeoutError:
            await visit.refuse(408, "the request took too long to arrive")
            return False
        else:
            self._answered = True
            return again
        finally:
            self._lease = None
            lease.visitors.leave(self)
            self._web.crowd.rest(self)

    async def _pass_on(self, visit: Visit, request: h11.Request, tunnel: SiteTunnel) -> bool:
        try:
            channel = await tunnel.open(
                self._address, self._web.limits.response_seconds, self._web.bulk
            )
        except TimeoutError:
            await visit.refuse(504, "the other end of the tunnel does not answer")
            return False
        except (asyncssh.Error, OSError):
            await visit.refuse(502, "nothing listens at the other end of the tunnel")
            return False
        try:
            return await exchange(visit, request, channel)
        finally:
            channel.abort()


async def _stream(connection: socket.socket) -> SocketStream:
    try:
        return await SocketStream.from_socket(connection)
    except ValueError as error:  # "not connected": the visitor has disconnected already
        raise ConnectionError(error) from None
