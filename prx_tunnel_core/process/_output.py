"""The output of a program: read until its end, kept for errors, offered to waiting tasks."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import anyio
import anyio.lowlevel

from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.text import Redactor, printable

logger = get_logger("prx_tunnel_core")
output_logger = get_logger("prx_tunnel_core.program")

T = TypeVar("T")

STREAMS = 2
LONGEST_LINE = 64 * 1024  # bytes
CUT = b" [...]"
TAIL = 50  # lines kept for errors
SHOWN = 300  # characters of each of them in an error
LONGEST_SECRET = 4096  # characters dropped where a line was cut
READ = 64 * 1024  # bytes: what a pipe holds
LINES_AT_ONCE = 200  # looked at before other tasks run
LOGGED_LINES = 200.0  # burst that is logged, refilled at a tenth of it a second


class Reader:
    """Both streams of one program."""

    def __init__(self, name: str, redact: Redactor, on_line: Callable[[str], None] | None) -> None:
        self._lines: deque[str | bytes] = deque(maxlen=TAIL)
        """The tail; lines stay bytes until they are looked at, which is rare in a flood."""
        self.drained = anyio.Event()
        """Set when every stream has ended."""
        self._name = name
        self._ended: set[int] = set()
        self._redact = redact
        self._on_line = on_line
        self._waiters: list[Waiter[object]] = []
        self._log = _LogBudget()
        self._failures = _LogBudget()
        self._redrawn = False
        """Whether the last line ended in a carriage return: the next one takes its place."""

    @property
    def tail(self) -> deque[str]:
        """The last lines of both streams, cleaned when they are looked at."""
        for at, line in enumerate(self._lines):
            if isinstance(line, bytes):
                self._lines[at] = self._clean(line)
        return cast("deque[str]", self._lines)

    def last_lines(self, count: int) -> str:
        said = [line.strip() for line in self.tail if line.strip()][-count:]
        return " | ".join(line if len(line) <= SHOWN else f"{line[:SHOWN]}..." for line in said)

    async def drain(self, fd: int) -> None:
        """Read until the stream ends: a closed pipe would kill the program, a full one block it."""
        cutter = LineCutter()
        while chunk := await _read(fd):
            # Without a waiter or listener, all but the last lines of a flood are skipped unseen.
            wanted = None if self._waiters or self._on_line else TAIL
            await self._take(cutter.feed(_end_redrawn(chunk), most=wanted))
        await self._take(cutter.end(), clean=self._clean_cut_off)
        self._ended.add(fd)
        if len(self._ended) == STREAMS:
            self.drained.set()

    def wait_for(self, find: Callable[[str], T | None]) -> Waiter[T]:
        """A waiter that is offered the tail and each new line, until `forget`."""
        waiter: Waiter[T] = Waiter(find)
        for line in self.tail:
            waiter.offer(line)
        self._waiters.append(waiter)  # type: ignore[arg-type]
        return waiter

    def forget(self, waiter: Waiter[T]) -> None:
        self._waiters.remove(waiter)  # type: ignore[arg-type]

    def close(self) -> None:
        """End all waiting: no line will come any more."""
        for waiter in self._waiters:
            waiter.done.set()

    async def _take(
        self, lines: list[bytes], *, clean: Callable[[bytes], str] | None = None
    ) -> None:
        """Keep the lines, cleaned by `clean` if given, and offer them to waiters and listeners."""
        watched = self._is_watched()
        for number, raw in enumerate(lines):
            if number % LINES_AT_ONCE == LINES_AT_ONCE - 1:
                await anyio.lowlevel.checkpoint()
                watched = self._is_watched()
            text = raw.rstrip(b"\r")
            if not text:
                self._redrawn = False
                continue  # a line end in two reads, or an empty line
            if self._redrawn:
                self._lines.pop()  # as on a terminal, the new line replaces the old one
            self._redrawn = text != raw
            self._lines.append(text if clean is None else clean(text))
            if watched:
                self._show_last()

    def _is_watched(self) -> bool:
        listeners = self._waiters or self._on_line
        return bool(listeners) or output_logger.isEnabledFor(logging.DEBUG)

    def _show_last(self) -> None:
        line = self._lines[-1]
        if isinstance(line, bytes):
            line = self._lines[-1] = self._clean(line)
        for waiter in self._waiters:
            waiter.offer(line)
        self._pass_on(line)

    def _clean(self, raw: bytes) -> str:
        line = self._redact(printable(raw.decode("utf-8", "replace")))
        if len(raw) > LONGEST_LINE:  # it was cut, maybe within a secret, which is not recognised
            return line[: -LONGEST_SECRET - len(CUT)] + CUT.decode()
        return line

    def _clean_cut_off(self, raw: bytes) -> str:
        """For a line without a line end: the program may have died within a secret."""
        return self._redact.cut_off(self._clean(raw))

    def _pass_on(self, line: str) -> None:
        if self._on_line is not None:
            try:
                self._on_line(line)
            except (Exception, SystemExit):
                if self._failures.allows():
                    logger.exception("reading the output of %s failed", self._name)
        if output_logger.isEnabledFor(logging.DEBUG) and self._log.allows():
            output_logger.debug("%s: %s", self._name, line)


class Waiter(Generic[T]):
    """A task that waits for a line."""

    def __init__(self, find: Callable[[str], T | None]) -> None:
        self._find = find
        self.done = anyio.Event()
        self.found: T | None = None
        self.error: BaseException | None = None

    def offer(self, line: str) -> None:
        if self.done.is_set():
            return
        try:
            self.found = self._find(line)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is raised in the waiting task
            self.error = error
        if self.found is not None or self.error is not None:
            self.done.set()


class LineCutter:
    """Cuts a stream into lines of bounded length; a longer one is cut short and marked.

    The rest of it is dropped: taken for a line, it could be made to look like an announcement.
    """

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._begun = bytearray()
        self._overlong = False

    def feed(self, chunk: bytes, *, most: int | None = None) -> list[bytes]:
        """The lines that the chunk completes; at most the last `most` of them if given.

        With `most`, a flood costs a search from the end instead of a list of all its lines.
        """
        pieces = chunk.split(b"\n") if most is None else chunk.rsplit(b"\n", most + 1)
        if len(pieces) == 1:
            self._begin(chunk)
            return []
        first, *middle, last = pieces
        if most is not None and len(middle) == most:
            self._forget()
            lines = []
        else:
            lines = [self._finish(first)]
        lines += [self._cut(line) for line in middle]
        self._begin(last)
        return lines

    def end(self) -> list[bytes]:
        """The line that the stream ended in, if any."""
        return [self._finish(b"")] if self._begun else []

    def _begin(self, piece: bytes) -> None:
        room = self._longest - len(self._begun)
        self._overlong |= len(piece) > room
        self._begun += piece[:room]

    def _finish(self, piece: bytes) -> bytes:
        self._begin(piece)
        line = bytes(self._begun) + (CUT if self._overlong else b"")
        self._forget()
        return line

    def _forget(self) -> None:
        self._begun.clear()
        self._overlong = False

    def _cut(self, line: bytes) -> bytes:
        return line if len(line) <= self._longest else line[: self._longest] + CUT


def _end_redrawn(chunk: bytes) -> bytes:
    """End a line at each carriage return, too, and keep that as a mark.

    A spinner may redraw the line of the URL, and never end a line at all.
    """
    if b"\r" not in chunk:
        return chunk
    return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\r\n")


async def _read(fd: int) -> bytes:
    """The next bytes of a pipe; b"" when it has ended."""
    # Waiting first would cost a flood two more system calls for each chunk.
    await anyio.lowlevel.checkpoint()
    while True:
        try:
            return os.read(fd, READ)
        except BlockingIOError:
            await anyio.wait_readable(fd)
        except OSError:
            return b""


class _LogBudget:
    """200 lines at once, then 20 a second: a flood must not fill a disk."""

    def __init__(self) -> None:
        self._left = LOGGED_LINES
        self._at = time.monotonic()
        self._refused = 0

    def allows(self) -> bool:
        now = time.monotonic()
        self._left = min(LOGGED_LINES, self._left + (now - self._at) * LOGGED_LINES / 10)
        self._at = now
        if self._left < 1:
            self._refused += 1
            return False
        self._left -= 1
        if self._refused:
            output_logger.debug("(%d lines left out)", self._refused)
            self._refused = 0
        return True
