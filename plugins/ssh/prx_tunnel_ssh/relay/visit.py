"""One connection of a visitor to the web sites."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import anyio
import h11
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from prx_tunnel_ssh.relay.settings import Limits

T = TypeVar("T")

GONE = (
    OSError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.BusyResourceError,
    # The TLS stream raises this for a handshake or a write after the visitor has disconnected.
    anyio.EndOfStream,
)
"""What a stream raises when the visitor has disconnected, was too slow, or does not speak TLS."""

LAST_WORDS_SECONDS = 30.0
"""How long a visitor may take to read the rest after the end."""

CHUNK = 16 * 1024
_LARGEST_HEAD = 16 * 1024
# What a visitor may send, and how long it may read, after the end.
_MOST_DROPPED = 16 * 1024 * 1024
_BYTES_PER_SECOND = 1024


class _Stall:
    """The time for which a visitor may still hold up a body or a response; progress extends it."""

    def __init__(self, seconds: float) -> None:
        self._most = seconds
        self._left = seconds

    async def wait(self, waiting: Awaitable[T]) -> T:
        """Raises TimeoutError."""
        start = time.monotonic()
        try:
            async with asyncio.timeout(self._left):
                return await waiting
        finally:
            self._left -= time.monotonic() - start

    def passed(self, size: int) -> None:
        self._left = min(self._most, self._left + size / _BYTES_PER_SECOND)


class Visit:
    def __init__(self, stream: ByteStream, limits: Limits, moved: Callable[[], None]) -> None:
        """`moved` is called whenever the visitor has sent or received something."""
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
        self._stream = stream
        self._moved = moved
        self._stall_seconds = limits.stall_seconds
        self._body = self._response = _Stall(limits.stall_seconds)

    async def next_request(self) -> h11.Request | None:
        """The head of the next request; None when the visitor has disconnected.

        Raises h11.RemoteProtocolError for an invalid request.
        """
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        self._body, self._response = _Stall(self._stall_seconds), _Stall(self._stall_seconds)
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.receive())
        return event if isinstance(event, h11.Request) else None

    async def next_event(self) -> Any:
        """The next part of a body; raises TimeoutError when the visitor is too slow with it."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            data = await self._body.wait(self.receive())
            self._body.passed(len(data))
            self.http.receive_data(data)
        return event

    async def receive(self) -> bytes:
        """The next bytes; none when the visitor sends no more."""
        try:
            data = await self._stream.receive(CHUNK)
        except anyio.EndOfStream:
            return b""
        self._moved()
        return data

    async def send(self, event: h11.Event) -> None:
        """Raises TimeoutError when the visitor is too slow to take it."""
        data = self.http.send(event)
        if data:
            await self._response.wait(self.send_bytes(data))
            self._response.passed(len(data))

    async def send_bytes(self, data: bytes) -> None:
        if data:
            await self._stream.send(data)
            self._moved()

    async def send_eof(self) -> None:
        """End this direction. Raises anyio.ClosedResourceError for TLS, which ends both at once."""
        if isinstance(self._stream, TLSStream):
            raise anyio.ClosedResourceError
        await self._stream.send_eof()

    async def refuse(self, status: int, reason: str) -> None:
        """Send a response of the relay itself, and end the connection."""
        body = f"prx-tunnel relay: {reason}\n".encode()
        headers = [
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(body))),
            ("prx-tunnel-relay", str(status)),
            ("connection", "close"),
        ]
        if self.http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        await self.send(h11.Response(status_code=status, headers=headers))
        await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())

    async def finish(self) -> None:
        """Close the connection once the visitor has read everything.

        Until then its input is read and dropped: a socket that is closed with unread input resets
        the connection, and the visitor loses data that it has not read yet.
        """
        with suppress(TimeoutError, anyio.EndOfStream):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                stream = self._stream
                if isinstance(stream, TLSStream):
                    with suppress(OSError):  # the visitor sends data instead of a closure alert
                        await stream.unwrap()
                    stream = cast("ByteStream", stream.transport_stream)
                await stream.send_eof()
                for _ in range(_MOST_DROPPED // CHUNK):
                    await stream.receive(CHUNK)
