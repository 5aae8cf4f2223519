"""A channel to a guest, for one visitor of a web site."""

from __future__ import annotations

import asyncio

import asyncssh

from prx_tunnel_ssh.congestion import Congestion

_CHUNK = 64 * 1024


class Channel:
    def __init__(
        self,
        reader: asyncssh.SSHReader[bytes],
        writer: asyncssh.SSHWriter[bytes],
        congestion: Congestion,
        patience: float | None,
    ) -> None:
        """`patience` is how long the guest may let one of these wait, in seconds."""
        self._reader = reader
        self._writer = writer
        self._congestion = congestion
        self._patience = patience

    def wait_for_ever(self) -> None:
        """From now on the guest may be silent for as long as it likes."""
        self._patience = None

    async def receive(self) -> bytes:
        """The next bytes; none at the end. Raises TimeoutError, asyncssh.Error or OSError."""
        async with asyncio.timeout(self._patience):
            return await self._reader.read(_CHUNK)

    async def send(self, data: bytes) -> None:
        """Wait until there is room for more. Raises TimeoutError, asyncssh.Error or OSError."""
        if not data:
            return
        self._writer.write(data)
        async with asyncio.timeout(self._patience):
            await self._writer.drain()
            await self._congestion.wait()

    async def send_eof(self) -> None:
        self._writer.write_eof()

    async def flush(self) -> None:
        """Close, once the guest has taken what it was sent."""
        self._writer.close()
        await self._writer.wait_closed()

    def abort(self) -> None:
        self._writer.channel.abort()
