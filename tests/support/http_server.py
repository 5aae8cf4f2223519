"""A server on loopback that says exactly the bytes it is told to, over TLS when it is given one."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
from anyio.abc import AnyByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

Handler: TypeAlias = Callable[[AnyByteStream], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class RawServer:
    port: int
    scheme: str = "http"
    requests: list[bytes] = field(default_factory=list)
    """The head of each request, in the order of arrival."""
    handled: int = 0
    """Connections that the server is done with."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@asynccontextmanager
async def serve(
    handler: Handler, *, tls: ssl.SSLContext | None = None, greets: bool = False
) -> AsyncIterator[RawServer]:
    """Read the head of one request from each connection, then let the handler speak, then close.

    With `greets`, the handler speaks first.
    """
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = tcp if tls is None else TLSListener(tcp, tls, standard_compatible=False)
    server = RawServer(tcp.extra(SocketAttribute.local_port), "http" if tls is None else "https")

    async def handle(stream: AnyByteStream) -> None:
        # The other side leaves when it has seen enough.
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with stream:
                if not greets:
                    server.requests.append(await _head(stream))
                await handler(stream)
        server.handled += 1

    async with tcp, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield server
        tasks.cancel_scope.cancel()


async def _head(stream: AnyByteStream) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive()
    return head


def says(*pieces: bytes) -> Handler:
    async def handler(stream: AnyByteStream) -> None:
        for piece in pieces:
            await stream.send(piece)

    return handler


def status(line: str, **headers: str) -> Handler:
    """An answer with that status line; `_` in a header's name stands for `-`."""
    lines = [f"HTTP/1.1 {line}", "Content-Length: 0"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return says("\r\n".join([*lines, "", ""]).encode())


def repeats(piece: bytes, *, after: bytes = b"", pause: float = 0.0) -> Handler:
    """Says `after`, then the same for ever, until the other side leaves."""

    async def handler(stream: AnyByteStream) -> None:
        await stream.send(after)
        while True:
            await stream.send(piece)
            await anyio.sleep(pause)

    return handler


async def hangs(stream: AnyByteStream) -> None:
    await stream.receive()


async def resets(stream: AnyByteStream) -> None:
    raw = stream.extra(SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
