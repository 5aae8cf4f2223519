"""The connections through a tunnel, with back-pressure and half-close; none outlives the tunnel.

asyncssh has a forwarder too. It closes its sockets but never aborts them: a local program that has
stopped reading would keep its socket, and what was buffered for it, beyond the end of the tunnel.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any, Protocol

import asyncssh
from anyio import CancelScope
from asyncssh.constants import OPEN_CONNECT_FAILED
from typing_extensions import override

from prx_tunnel_core.backend import Target
from prx_tunnel_ssh.congestion import Congestion

WINDOW = 128 * 1024
"""How much the other side of the SSH connection may send ahead on one channel. One that is not read
from must not cost this process asyncssh's two megabytes."""

# What is kept for an end that is not open yet. Reading is paused meanwhile; only CPython before
# 3.11.4 reads once after a pause in `connection_made`.
_MOST_EARLY = 1024 * 1024


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
    What arrives before the other end can take it is kept, in order, and delivered once it can.
    """

    def __init__(self, ends: set[End], congestion: Congestion | None = None) -> None:
        """`congestion` is that of the SSH connection, for the end that is a channel of it."""
        self.other: End | None = None
        self.is_open = False
        """Whether it can be written to."""
        self.at_eof = False
        self._congestion = congestion
        self._is_full = False
        self._ends = ends
        self._wire: Wire | None = None
        self._early = bytearray()
        self._closing = False
        self._aborted = False

    def join(self, other: End) -> None:
        self.other, other.other = other, self
        self.deliver()
        other.deliver()

    @override
    def connection_made(self, transport: Any) -> None:
        self._wire = transport
        self._ends.add(self)
        if self._aborted:  # the other end has gone while this one was being made
            self.abort()

    def session_started(self) -> None:
        """The channel is open (asyncssh's protocol)."""
        self._opened()

    @override
    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        if self.other is not None and self.other.is_open:
            self.other.write(data)
        elif len(self._early) + len(data) > _MOST_EARLY:
            self._abort_both()
        else:
            self._early += data
            self._pause_again()

    @override
    def eof_received(self) -> bool:
        """Pass the half-close on; when both halves are closed, so is the connection."""
        self.at_eof = True
        if self.other is not None and self.other.is_open:
            self._pass_eof(self.other)
        return True

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._wire = None
        self._ends.discard(self)
        if self._congestion is not None:
            self._congestion.forget(self)
        if self.other is not None:
            self.other.abort() if exc is not None else self.other.close()

    @override
    def pause_writing(self) -> None:
        self._is_full = True
        if self.other is not None:
            self.other.pause_reading()

    @override
    def resume_writing(self) -> None:
        self._is_full = False
        self.read_on()

    def read_on(self) -> None:
        """Have the other end read, or as soon as this one can be written to again."""
        if self._is_full or self.other is None:
            return
        if self._congestion is not None and self._congestion.full:
            self._congestion.remember(self)
        else:
            self.other.resume_reading()

    def write(self, data: bytes) -> None:
        if self._wire is None:
            return
        with contextlib.suppress(OSError):  # closed for writing a moment ago
            self._wire.write(data)
        if self._congestion is not None and self._congestion.full:
            self._congestion.remember(self)
            if self.other is not None:
                self.other.pause_reading()

    def write_eof(self) -> None:
        if self._wire is not None and not self._wire.is_closing():
            with contextlib.suppress(OSError):
                self._wire.write_eof()

    def pause_reading(self) -> None:
        if self._wire is not None:
            self._wire.pause_reading()

    def resume_reading(self) -> None:
        if self._wire is not None and not self.at_eof:
            self._wire.resume_reading()

    def close(self) -> None:
        """Close once what is buffered, and what arrived early for this end, has been sent."""
        self._closing = True
        if self._wire is not None and self.is_open:
            self._wire.close()

    def abort(self) -> None:
        self._aborted = True
        if self._wire is not None:
            self._wire.abort()

    def _opened(self) -> None:
        """From now on this end can be written to."""
        if self._aborted:
            return
        self.is_open = True
        self.deliver()
        if self.other is not None:
            self.other.deliver()
        if self._closing:
            self.close()

    def deliver(self) -> None:
        """Pass on what arrived early, as soon as the other end can take it, and read on."""
        if self.other is None or not self.other.is_open:
            return
        if self._early:
            early, self._early = bytes(self._early), bytearray()
            self.other.write(early)
        if self.at_eof:
            self._pass_eof(self.other)
        else:
            self.other.read_on()

    def _pass_eof(self, other: End) -> None:
        other.write_eof()
        if other.at_eof:
            self.close()
            other.close()

    def _pause_again(self) -> None:
        """Stop reading until the other end is open."""
        self.pause_reading()

    def _abort_both(self) -> None:
        self._early.clear()
        self.abort()
        if self.other is not None:
            self.other.abort()


class _Buffer(threading.local):
    """What a socket's bytes are read into: one for all, as nothing stays in it."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(64 * 1024))


_buffer = _Buffer()


class SocketEnd(End, asyncio.BufferedProtocol):
    """Reads nothing before its channel is open, so that the visitor waits, and not this process."""

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer.view

    @override
    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(_buffer.view[:nbytes]))

    @override
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.pause_reading()
        # One who has vanished without a word would otherwise be kept for ever.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._opened()

    @override
    def _pause_again(self) -> None:
        """CPython before 3.11.4 reads on after a pause in `connection_made`, yet calls it paused.

        Another pause would do nothing then.
        """
        self.resume_reading()
        self.pause_reading()


class Forwards:
    """The connections of one tunnel to its target."""

    def __init__(self, target: Target) -> None:
        self.congestion: Congestion | None = None
        """Of the SSH connection through which they come, once there is one."""
        self._target = target
        self._ends: set[End] = set()
        self._dials: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._ends) + len(self._dials)

    async def session(self, _host: str, _port: int) -> End:
        """The session of a channel that a visitor opened, connected to the target.

        asyncssh awaits this in a separate task. Raises ChannelOpenError when the target does not
        accept, which closes the channel.
        """
        task = asyncio.current_task()
        assert task is not None  # asyncssh's
        self._dials.add(task)
        remote, local = End(self._ends, self.congestion), SocketEnd(self._ends)
        remote.join(local)
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: local, self._target.host, self._target.port
            )
        except OSError as error:
            raise asyncssh.ChannelOpenError(OPEN_CONNECT_FAILED, str(error)) from None
        finally:
            self._dials.discard(task)
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
