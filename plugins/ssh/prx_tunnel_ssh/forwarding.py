"""Forwards connections through a tunnel with back-pressure and half-close, and ends them with it.

asyncssh's own forwarder closes its sockets but never aborts them. If a local program stopped
reading, its socket and the data buffered for it would outlive the tunnel.
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
"""Bytes that the peer may send ahead on one channel. With asyncssh's default, every channel that is
not read could buffer two megabytes in this process."""

# Bytes buffered until the other end is open. Reading is paused in the meantime, but CPython before
# 3.11.4 reads once more after a pause in `connection_made`.
_MOST_EARLY = 1024 * 1024


class Wire(Protocol):
    """The common interface of a socket's transport and an SSH channel."""

    def write(self, data: bytes, /) -> None: ...
    def write_eof(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class End(asyncio.Protocol):
    """One of the two ends of a connection: a socket, or a channel of the SSH connection.

    Both call the same protocol methods, so this class also serves as an asyncssh session. Data that
    arrives before the other end is open is buffered and delivered in order.
    """

    def __init__(self, ends: set[End], congestion: Congestion | None = None) -> None:
        """`congestion` belongs to the SSH connection; None for the end that is a socket."""
        self.other: End | None = None
        self.is_open = False
        """Whether this end can be written to."""
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
        if self._aborted:  # the other end was lost while this one was being opened
            self.abort()

    def session_started(self) -> None:
        """Called by asyncssh when the channel is open."""
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
        """Forward the half-close, and close the connection once both halves are closed."""
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
        """Resume reading at the other end, now or as soon as this end can be written to again."""
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
        """Close after sending all buffered and early data."""
        self._closing = True
        if self._wire is not None and self.is_open:
            self._wire.close()

    def abort(self) -> None:
        self._aborted = True
        if self._wire is not None:
            self._wire.abort()

    def _opened(self) -> None:
        """Mark this end as writable, and deliver early data in both directions."""
        if self._aborted:
            return
        self.is_open = True
        self.deliver()
        if self.other is not None:
            self.other.deliver()
        if self._closing:
            self.close()

    def deliver(self) -> None:
        """If the other end is open, deliver early data to it and resume reading."""
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
    """The buffer for reads of all sockets of a thread; each read is copied out immediately."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(64 * 1024))


_buffer = _Buffer()


class SocketEnd(End, asyncio.BufferedProtocol):
    """Reads nothing before its channel is open, so that data waits in the kernel, not in memory."""

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
        # Without keepalive, the connection to a vanished peer would stay open for ever.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._opened()

    @override
    def _pause_again(self) -> None:
        """Pause effectively on CPython before 3.11.4.

        After a pause in `connection_made`, it keeps reading but considers reading paused, so
        another pause alone would do nothing.
        """
        self.resume_reading()
        self.pause_reading()


class Forwards:
    """The connections from one tunnel to its target."""

    def __init__(self, target: Target) -> None:
        self.congestion: Congestion | None = None
        """The congestion of the SSH connection, once there is one."""
        self._target = target
        self._ends: set[End] = set()
        self._dials: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._ends) + len(self._dials)

    async def session(self, _host: str, _port: int) -> End:
        """Connect to the target and return the session for a channel that a visitor opened.

        asyncssh awaits this in a separate task. Raises ChannelOpenError, which closes the channel,
        when the target does not accept the connection.
        """
        task = asyncio.current_task()
        assert task is not None  # the one of asyncssh
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
        """Abort all connections and wait until they have ended."""
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
