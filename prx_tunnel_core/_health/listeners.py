"""Who listens on this machine's TCP ports; Linux only, where two files tell."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from prx_tunnel_core.urls import unmapped

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTEN = "0A"
ROOT = 0
"""Who may do everything anyway, and listens for others: for containers, for socket units."""


class Listener(NamedTuple):
    address: IPv4Address | IPv6Address
    port: int
    uid: int
    inode: int
    """As in `/proc/<pid>/fd`, which tells whose process holds the socket."""

    def answers(self, host: str) -> bool:
        """Whether connections to that address of this machine come here.

        A socket of :: takes those of IPv4 as well, unless its owner has asked otherwise, which
        cannot be seen from outside.
        """
        wanted = ip_address(host)
        if self.address.is_unspecified:
            return self.address.version >= wanted.version
        return self.address == wanted


def listeners(tables: Sequence[str] = _TABLES) -> list[Listener]:
    """Every listening TCP socket; none where that cannot be told."""
    return [listener for table in tables for listener in _read(table)]


def strangers(host: str, port: int) -> list[int]:
    """The users, other than this one and root, who answer connections to that address."""
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
    """The kernel prints each 32-bit word as a number of the machine's own byte order."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return unmapped(ip_address(raw))
