"""The bodies that are being read, limited so that unknown senders cannot exhaust the memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import anyio

from prx_tunnel_webhooks.verify.answers import Answer, unavailable

MOST_BODIES = 64
MOST_BUFFERED = 16 * 1024 * 1024  # bytes


@dataclass(eq=False)
class _Reading:
    scope: anyio.CancelScope
    buffered: int = 0
    dropped: bool = False


class Bodies:
    """Reads bodies of at most `max_body` bytes, each within `timeout` seconds.

    At most `max_bodies` are read at a time, and `max_buffered` bytes are kept of them all. When one
    is too many, the one that has taken longest makes room: a provider sends its body at once, so
    whatever slow bodies strangers send, a webhook is not turned away because of them.
    """

    def __init__(self, max_body: int, timeout: float, max_bodies: int, max_buffered: int) -> None:
        if max_body < 1 or timeout <= 0 or max_bodies < 1:
            raise ValueError("max_body, timeout and max_bodies have to be greater than 0")
        self._max_body = max_body
        self._timeout = timeout
        self._max_bodies = max_bodies
        self._max_buffered = max(max_buffered, max_body)
        self._buffered = 0
        self._readings: dict[_Reading, None] = {}  # the oldest first

    async def read(self, chunks: AsyncGenerator[bytes, None]) -> bytes:
        """The whole body; raises Answer when it is too large or too slow, or has to make room."""
        deadline = anyio.current_time() + self._timeout
        reading = _Reading(anyio.CancelScope(deadline=deadline))
        if len(self._readings) >= self._max_bodies:
            self._drop_oldest()
        self._readings[reading] = None
        try:
            with reading.scope:
                async with aclosing(chunks):
                    return await self._collect(chunks, reading)
        finally:
            self._forget(reading)
        raise unavailable() if reading.dropped else Answer(408)

    async def _collect(self, chunks: AsyncGenerator[bytes, None], reading: _Reading) -> bytes:
        body = bytearray()
        async for chunk in chunks:
            if reading.dropped:
                raise unavailable()
            body += chunk
            if len(body) > self._max_body:
                raise Answer(413)
            reading.buffered += len(chunk)
            self._buffered += len(chunk)
            while self._buffered > self._max_buffered:
                self._drop_oldest()
        if reading.dropped:
            raise unavailable()
        return bytes(body)

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._readings))
        oldest.dropped = True
        oldest.scope.cancel()
        self._forget(oldest)

    def _forget(self, reading: _Reading) -> None:
        if reading in self._readings:
            del self._readings[reading]
            self._buffered -= reading.buffered
