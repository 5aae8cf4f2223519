"""The local port: whether something accepts connections on it, and whose process that is.

Users of a port are known on Linux only, where two files list them.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

import anyio

from prx_tunnel_core.urls import unmapped

PATIENCE = 1.0  # seconds; on loopback an answer takes microseconds

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTEN = "0A"
ROOT = 0
"""root may do everything anyway, and listens for others: containers, socket units."""


class Listener(NamedTuple):
    address: IPv4Address | IPv6Address
    port: int
    uid: int
    inode: int
    """The socket's number in `/proc/<pid>/fd`, which identifies the process."""

    def answers(self, host: str) -> bool:
        """Whether this socket accepts connections to that address of this machine.

        A socket of :: also accepts those of IPv4, unless its owner has disabled that, which is not
        visible from outside.
        """
        wanted = ip_address(host)
        if self.address.is_unspecified:
            return self.address.version >= wanted.version
        return self.address == wanted


async def knock(host: str, port: int) -> None:
    """Connect to an address of this machine; raises OSError when nothing accepts.

    Nothing is looked up, no thread is used, and no data is sent: a host of a thousand tunnels does
    this thirty times a second. Waits as long as the kernel does; the caller sets the deadline.
    """
    with _socket_for(host) as client:
        if _begins(client, host, port):
            await anyio.wait_writable(client)
            _raise(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


async def accepts(host: str, port: int, *, patience: float = PATIENCE) -> bool:
    """Whether something accepts a connection within `patience` seconds."""
    try:
        with anyio.fail_after(patience):
            await knock(host, port)
    except OSError:  # TimeoutError is one
        return False
    return True


def accepts_now(host: str, port: int, *, patience: float = PATIENCE) -> bool:
    """The same without an event loop; blocks for up to `patience` seconds."""
    try:
        with _socket_for(host) as client:
            if _begins(client, host, port):
                poll = select.poll()
                poll.register(client, select.POLLOUT)
                answered = poll.poll(patience * 1000)
                _raise(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                return bool(answered)
    except OSError:
        return False
    return True


def _socket_for(host: str) -> socket.socket:
    client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    client.setblocking(False)
    return client


def _begins(client: socket.socket, host: str, port: int) -> bool:
    """Start to connect: True when the outcome comes later, False when it is connected."""
    error = client.connect_ex((host, port))
    if error != errno.EINPROGRESS:
        _raise(error)
    return bool(error)


def _raise(error: int) -> None:
    if error:
        raise OSError(error, os.strerror(error))


def listeners(tables: Sequence[str] = _TABLES) -> list[Listener]:
    """Every listening TCP socket; none where the system does not list them."""
    return [listener for table in tables for listener in _read(table)]


def strangers(host: str, port: int) -> list[int]:
    """The other users, except root, whose processes accept connections to that address."""
    found = {each.uid for each in listeners() if each.port == port and each.answers(host)}
    return sorted(found - {ROOT, os.geteuid()})


def _read(table: str) -> Iterator[Listener]:
    try:
        with open(table, encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        return
    for row in rows:
        if row[3] == _LISTEN:
            address, _, port = row[1].rpartition(":")
            yield Listener(_address(address), int(port, 16), uid=int(row[7]), inode=int(row[9]))


def _address(text: str) -> IPv4Address | IPv6Address:
    """The kernel prints each 32-bit word as a number in the machine's byte order."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return unmapped(ip_address(raw))
