"""Accepting connections: each is taken or refused before anything is read or allocated."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from prx_tunnel_ssh.relay.log import Log

Accepted = Callable[[socket.socket, tuple[str, int]], bool]
"""Takes a connection, or closes it and returns False."""

_BACKLOG = 1024
# Connections that are taken at a time, before those that make room for them are closed.
_AT_ONCE = 4
# Connections that are judged at a time. A refusal costs next to nothing, and connections behind it
# must not be dropped from a backlog that overflows: TCP tries again only after a second or more.
_LOOKED_AT = 256
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS = 0.5
# Bytes that the kernel accepts beyond those in flight. Each has passed through a tunnel and been
# encrypted, in vain when the visitor reads nothing: a full send buffer would cost eight times that.
_UNSENT = 32 * 1024


class Listener:
    """The listening sockets of one address; `accepted` is called for each connection.

    The server of asyncio starts to read before a connection can be refused, and logs thousands of
    lines when the process has no more descriptors.
    """

    def __init__(self, sockets: list[socket.socket], accepted: Accepted, log: Log) -> None:
        self._sockets = sockets
        self._accepted = accepted
        self._log = log
        self._loop = asyncio.get_running_loop()
        self.port = int(sockets[0].getsockname()[1])
        for listener in sockets:
            self._loop.add_reader(listener, self._accept, listener)

    @property
    def listening(self) -> bool:
        return bool(self._sockets)

    def close(self) -> None:
        for listener in self._sockets:
            self._loop.remove_reader(listener)
            listener.close()
        self._sockets = []

    def _accept(self, listener: socket.socket) -> None:
        taken = 0
        for _ in range(_LOOKED_AT):
            if taken == _AT_ONCE or listener not in self._sockets:
                return  # enough for now, or closed meanwhile
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(listener, error)
                    return
                continue  # the other side has closed it already
            connection.setblocking(False)
            taken += self._accepted(connection, (str(address[0]), int(address[1])))

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        """Leave connections in the backlog until descriptors are free again."""
        self._loop.remove_reader(listener)
        self._loop.call_later(_PAUSE_SECONDS, self._resume, listener)
        self._log.seldom("cannot accept connections", port=self.port, reason=error.strerror)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._sockets:
            self._loop.add_reader(listener, self._accept, listener)


async def listen(
    host: str, port: int, accepted: Accepted, log: Log, *, buffers: int = 0
) -> Listener:
    """Accept connections at an address; raises OSError when it is not available.

    `buffers` bounds the kernel's buffers of each connection, in bytes: by default it accepts
    megabytes for a peer that reads nothing, and delivers hundreds of kilobytes at once. With a
    bound, it also accepts little more than the window of the peer has room for.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, (where, _, *scope) in dict.fromkeys(found):
            if sockets:  # the same port at each address
                port = sockets[0].getsockname()[1]
            sockets.append(_bind(family, (where, port, *scope), buffers))
    except OSError:
        for listener in sockets:
            listener.close()
        raise
    return Listener(sockets, accepted, log)


def _bind(family: int, address: tuple[object, ...], buffers: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if buffers:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
