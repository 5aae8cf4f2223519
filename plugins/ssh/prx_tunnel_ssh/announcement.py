"""Finds the public URL that services like pinggy or localhost.run print into the session."""

from __future__ import annotations

import asyncio
from collections import deque

import anyio
import asyncssh
from typing_extensions import override

from prx_tunnel_core.errors import ConnectError
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.programs import Pattern, time_left
from prx_tunnel_core.text import printable
from prx_tunnel_core.urls import ANY_URL

LONGEST_LINE = 16 * 1024
_TAIL = 12

logger = get_logger("prx_tunnel_ssh")


class Announcement(asyncssh.SSHClientSession[bytes]):
    """Reads the server's output for the whole session, so that it never stalls.

    Only the first match is used, because later output may contain text from visitors.
    """

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._partial = b""
        self.tail: deque[str] = deque(maxlen=_TAIL)
        self.url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @override
    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        *lines, rest = (self._partial + data).split(b"\n")
        for line in lines:
            self._read(line)
        # Some servers do not end the line of the URL.
        self._look(rest)
        self._partial = rest[-LONGEST_LINE:]

    @override
    def eof_received(self) -> bool:
        self._read(self._partial)
        self._partial = b""
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(f"the server ended the session; {self.last_words()}")

    def last_words(self) -> str:
        if not self.tail:
            return "it has printed nothing"
        return "its last lines:\n" + "\n".join(self.tail)

    def _read(self, raw: bytes) -> None:
        text = _clean(raw).strip()
        if text:
            self.tail.append(text)
            logger.debug("server: %s", text)
        self._look(raw, complete=True)

    def _look(self, raw: bytes, *, complete: bool = False) -> None:
        """Search the line; a match at the end of an incomplete line may still grow, so it waits."""
        if self.url.done():
            return
        text = _clean(raw)
        found = self._pattern.search(text)
        if found is None or (not complete and found.end(1) == len(text)):
            return
        try:
            self.url.set_result(ANY_URL.accept(found.group(1)))
        except ValueError as error:
            logger.warning("url_pattern matched, but not a public URL (%s): %s", error, text)


def _clean(raw: bytes) -> str:
    return printable(raw[:LONGEST_LINE].decode(errors="replace"))


async def wait_for_url(
    announcement: Announcement, lost: asyncio.Future[str], *, pattern: str
) -> str:
    """Wait for the announced URL; raises ConnectError, with the last lines, if there is none."""
    waiting = {announcement.url, announcement.ended, lost}
    with anyio.move_on_after(time_left()):
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if announcement.url.done():
        return announcement.url.result()
    if lost.done():
        why = lost.result()
    else:
        why = "the server ended the session" if announcement.ended.done() else "time ran out"
    raise ConnectError(
        f"{why} before the server printed a URL that url_pattern {pattern!r} matches; "
        f"{announcement.last_words()}"
    )
