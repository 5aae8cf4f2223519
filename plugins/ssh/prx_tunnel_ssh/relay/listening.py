"""Accepting connections: what becomes of one is decided before anything is read or allocated."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from prx_tunnel_ssh.relay.log import Log

Accepted = Callable[[socket.socket, tuple[str, int]], bool]
"""Takes a connection, or closes it and returns False."""

_BACKLOG = 1024
# Connections that are taken before those that make room for them are really closed.
_AT_ONCE = 8
# And that are looked at: to refuse one costs next to nothing, and whoever waits behind it in the
# backlog, which overflows, would otherwise be heard only when TCP tries again, seconds later.
_LOOKED_AT = 256
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS = 0.5
# Bytes that the kernel accepts beyond those in flight. Each has passed through a tunnel and been
# encrypted, in vain when the visitor reads nothing: a full send buffer would cost eight times that.
_UNSENT = 32 * 1024


class Listener:
    """The sockets of one address, and who is called for each connection.

    asyncio's own server reads before it can be asked, and writes thousands of lines when the
    descriptors of the process are exhausted.
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
                return  # enough for now, or closed by what an earlier connection led to
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(listener, error)
                    return
                continue  # it has gone already
            connection.setblocking(False)
            taken += self._accepted(connection, (str(address[0]), int(address[1])))

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        """Those who wait in the backlog stay there until descriptors are free again."""
        self._loop.remove_reader(listener)
        self._loop.call_later(_PAUSE_SECONDS, self._resume, listener)
        self._log.seldom("cannot accept connections", port=self.port, reason=error.strerror)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._sockets:
            self._loop.add_reader(listener, self._accept, listener)


async def listen(
    host: str, port: int, accepted: Accepted, log: Log, *, buffers: int = 0
) -> Listener:
    """Accept connections at an address; raises OSError when it cannot be had.

    `buffers` bounds what the kernel holds for each connection in each direction: it would take
    megabytes for one that reads nothing, and hand out hundreds of kilobytes at once. Of what is to
    be sent, it then takes little more than the other side has room for.
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
