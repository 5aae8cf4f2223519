"""Who listens on this machine's TCP ports; Linux only, where two files tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTEN = "0A"


class Listener(NamedTuple):
    port: int
    uid: int


def listeners(tables: Sequence[str] = _TABLES) -> list[Listener]:
    """Every listening TCP socket; none where that cannot be told."""
    return [listener for table in tables for listener in _read(table)]


def _read(table: str) -> Iterator[Listener]:
    try:
        with open(table, encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        return
    for row in rows:
        if row[3] == _LISTEN:
            yield Listener(port=int(row[1].rpartition(":")[2], 16), uid=int(row[7]))
