"""The connections that pass through a tunnel, with back-pressure and half-close; none outlives it.

asyncssh has a forwarder too. It closes its sockets but never aborts them: a local program that has
stopped reading would keep its socket, and what was buffered for it, beyond the end of the tunnel.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, Protocol

import asyncssh
from anyio import CancelScope
from asyncssh.constants import OPEN_CONNECT_FAILED
from typing_extensions import override

from prx_tunnel_core.backend import Target


class Wire(Protocol):
    """What a socket's transport and an SSH channel have in common."""

    def write(self, data: bytes, /) -> None: ...
    def write_eof(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class End(asyncio.Protocol):
    """One of the two ends of a connection: a socket, or a channel of the SSH connection.

    Both speak the same protocol to their owner, so this is also what asyncssh calls a session.
    """

    def __init__(self, ends: set[End]) -> None:
        self.other: End | None = None
        self._ends = ends
        self._wire: Wire | None = None
        self._finished = False
        self._ended = False

    @override
    def connection_made(self, transport: Any) -> None:
        self._wire = transport
        self._ends.add(self)
        if self._ended:  # the other end has gone while this one was being made
            self.abort()

    def session_started(self) -> None:
        """The channel is open (asyncssh's protocol): there is somebody to read the socket for."""
        if self.other is not None:
            self.other.resume_reading()

    def join(self, other: End) -> None:
        self.other, other.other = other, self

    @override
    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        if self.other is not None:
            self.other.write(data)

    @override
    def eof_received(self) -> bool:
        """Pass the half-close on; when both halves are closed, so is the connection."""
        self._finished = True
        if self.other is not None:
            self.other.write_eof()
            if self.other._finished:  # noqa: SLF001 (the same class)
                self.close()
                self.other.close()
        return True

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._wire = None
        self._ends.discard(self)
        if self.other is not None:
            self.other.abort() if exc is not None else self.other.close()

    @override
    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.pause_reading()

    @override
    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.resume_reading()

    def write(self, data: bytes) -> None:
        if self._wire is not None:
            with contextlib.suppress(OSError):  # closed for writing a moment ago
                self._wire.write(data)

    def write_eof(self) -> None:
        if self._wire is not None and not self._wire.is_closing():
            with contextlib.suppress(OSError):
                self._wire.write_eof()

    def pause_reading(self) -> None:
        if self._wire is not None:
            self._wire.pause_reading()

    def resume_reading(self) -> None:
        if self._wire is not None:
            self._wire.resume_reading()

    def close(self) -> None:
        """Close once what is buffered has been sent."""
        self._ended = True
        if self._wire is not None:
            self._wire.close()

    def abort(self) -> None:
        self._ended = True
        if self._wire is not None:
            self._wire.abort()


class SocketEnd(End):
    """Reads nothing before its channel is open, so that nothing has to be kept, or is lost."""

    @override
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.pause_reading()
        # One who has vanished without a word would otherwise be kept for ever.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class Forwards:
    """The connections of one tunnel to its target."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._ends: set[End] = set()
        self._dials: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._ends) + len(self._dials)

    async def session(self, _host: str, _port: int) -> End:
        """The session of a channel that a visitor opened, connected to the target.

        asyncssh awaits this in a task of its own. Raises ChannelOpenError when the target does not
        accept, which closes the channel.
        """
        task = asyncio.current_task()
        assert task is not None  # asyncssh's
        self._dials.add(task)
        try:
            _, local = await asyncio.get_running_loop().create_connection(
                lambda: SocketEnd(self._ends), self._target.host, self._target.port
            )
        except OSError as error:
            raise asyncssh.ChannelOpenError(OPEN_CONNECT_FAILED, str(error)) from None
        finally:
            self._dials.discard(task)
        remote = End(self._ends)
        remote.join(local)
        return remote

    async def end(self) -> None:
        """Abort what still passes through, and wait until it is gone."""
        for task in tuple(self._dials):
            task.cancel()
        while len(self):
            for end in tuple(self._ends):
                end.abort()
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def open_forwards(target: Target) -> AsyncIterator[Forwards]:
    forwards = Forwards(target)
    try:
        yield forwards
    finally:
        with CancelScope(shield=True):
            await forwards.end()
