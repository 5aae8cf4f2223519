"""A channel to a guest, for one visitor of a web site, and the order in which channels proceed."""

from __future__ import annotations

import asyncio
from collections import deque

import asyncssh
from typing_extensions import override

from prx_tunnel_ssh.congestion import Congestion

# Bytes that a channel passes at once, in both directions together: most requests and responses.
_SHORT = 64 * 1024
# Longer transfers that proceed in one turn of the event loop, by one chunk each.
_AT_ONCE = 4


class BulkQueue:
    """Lets long transfers take turns, so that short ones need not wait for all of them.

    The event loop serves everything that is ready before it looks for more. A short exchange takes
    a dozen turns of the loop, to each of which hundreds of downloads would add a chunk.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._scheduled = False

    async def turn(self) -> None:
        """Wait until this transfer may proceed by a chunk."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._schedule()
        await waiting

    def _schedule(self) -> None:
        if self._waiting and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._proceed)

    def _proceed(self) -> None:
        self._scheduled = False
        for _ in range(min(_AT_ONCE, len(self._waiting))):
            waiting = self._waiting.popleft()
            if not waiting.done():  # its visitor may have disconnected
                waiting.set_result(None)
        self._schedule()


class Channel(asyncssh.SSHTCPSession[bytes]):
    """Holds one packet at a time; the window bounds what else the guest sends ahead."""

    _channel: asyncssh.SSHTCPChannel[bytes]

    def __init__(self, congestion: Congestion, patience: float, bulk: BulkQueue) -> None:
        """`patience` is the time in seconds for which a call waits for the guest."""
        self._congestion = congestion
        self._patience: float | None = patience
        self._bulk = bulk
        self._passed = 0
        self._received: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False
        self._error: Exception | None = None

    @override
    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        self._channel = chan

    @override
    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        self._received.append(data)
        self._channel.pause_reading()
        self._news.set()

    @override
    def eof_received(self) -> bool:
        self._ended = True
        self._news.set()
        return True  # the other direction may go on

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._error = exc
        self._news.set()
        self._room.set()

    @override
    def pause_writing(self) -> None:
        self._room.clear()

    @override
    def resume_writing(self) -> None:
        self._room.set()

    def wait_for_ever(self) -> None:
        """Wait for the guest without a deadline from now on."""
        self._patience = None

    async def receive(self) -> bytes:
        """The next bytes; empty at the end. Raises TimeoutError, asyncssh.Error or OSError."""
        await self._take_turn()
        while not self._received:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._news.clear()
            self._channel.resume_reading()
            async with asyncio.timeout(self._patience):
                await self._news.wait()
        data = self._received.popleft()
        self._passed += len(data)
        return data

    async def send(self, data: bytes) -> None:
        """Wait until there is room for more. Raises TimeoutError or OSError."""
        if data:
            await self._take_turn()
            self._passed += len(data)
            self._channel.write(data)
            async with asyncio.timeout(self._patience):
                await self._room.wait()
                await self._congestion.wait()

    async def _take_turn(self) -> None:
        if self._passed > _SHORT:
            await self._bulk.turn()

    async def send_eof(self) -> None:
        self._channel.write_eof()

    async def flush(self) -> None:
        """Close, once the guest has taken what it was sent."""
        self._channel.close()
        await self._channel.wait_closed()

    def abort(self) -> None:
        self._channel.abort()
