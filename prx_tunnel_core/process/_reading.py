"""What a program says: read for life, kept for errors, passed to whoever waits for a line."""

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
from prx_tunnel_core.process._output import CUT, LONGEST_LINE, LineCutter
from prx_tunnel_core.text import Redactor, printable

logger = get_logger("prx_tunnel_core")
output_logger = get_logger("prx_tunnel_core.program")

T = TypeVar("T")

STREAMS = 2
TAIL = 50  # lines kept for errors
LONGEST_SECRET = 4096  # characters dropped where a line was cut
READ = 64 * 1024  # bytes: what a pipe holds
LINES_AT_ONCE = 200  # looked at before others get their turn
LOGGED_LINES = 200.0  # burst that goes to the log, refilled at a tenth of it a second


class Reader:
    """Both streams of one program."""

    def __init__(self, name: str, redact: Redactor, on_line: Callable[[str], None] | None) -> None:
        self._lines: deque[str | bytes] = deque(maxlen=TAIL)
        """The tail; as bytes what nobody has looked at, which is nearly all of a flood."""
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
        """The last lines of both streams, cleaned when somebody looks at them."""
        for at, line in enumerate(self._lines):
            if isinstance(line, bytes):
                self._lines[at] = self._clean(line)
        return cast("deque[str]", self._lines)

    async def drain(self, fd: int) -> None:
        """Read for life: a closed pipe would kill the program, a full one would freeze it."""
        cutter = LineCutter()
        while chunk := await _read(fd):
            # While nobody asks for lines, all but the last of a flood are skipped unseen.
            wanted = None if self._waiters or self._on_line else TAIL
            await self._take(cutter.feed(_end_redrawn(chunk), most=wanted))
        await self._take(cutter.end(), clean=self._clean_cut_off)
        self._ended.add(fd)
        if len(self._ended) == STREAMS:
            self.drained.set()

    def wait_for(self, find: Callable[[str], T | None]) -> Waiter[T]:
        """Somebody to whom each new line is shown, until `forget`."""
        waiter: Waiter[T] = Waiter(find)
        for line in self.tail:
            waiter.offer(line)
        self._waiters.append(waiter)  # type: ignore[arg-type]
        return waiter

    def forget(self, waiter: Waiter[T]) -> None:
        self._waiters.remove(waiter)  # type: ignore[arg-type]

    def close(self) -> None:
        """No line will come any more."""
        for waiter in self._waiters:
            waiter.done.set()

    async def _take(
        self, lines: list[bytes], *, clean: Callable[[bytes], str] | None = None
    ) -> None:
        """With `clean`, they are cleaned by that and at once."""
        watched = self._is_watched()
        for number, raw in enumerate(lines):
            if number % LINES_AT_ONCE == LINES_AT_ONCE - 1:
                await anyio.lowlevel.checkpoint()
                watched = self._is_watched()
            text = raw.rstrip(b"\r")
            if not text:
                self._redrawn = False
                continue  # a line end in two reads, or a gap for the eye
            if self._redrawn:
                self._lines.pop()  # as on a terminal: the new line stands in the place of the old
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
        if len(raw) > LONGEST_LINE:  # it was cut, maybe within a secret that none could recognise
            return line[: -LONGEST_SECRET - len(CUT)] + CUT.decode()
        return line

    def _clean_cut_off(self, raw: bytes) -> str:
        """Of a line that no line end completed: the program may have died within a secret."""
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
    """Somebody who waits for a line."""

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
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is raised where the caller waits
            self.error = error
        if self.found is not None or self.error is not None:
            self.done.set()


def _end_redrawn(chunk: bytes) -> bytes:
    """End a line at each carriage return, too, and leave that as a mark.

    A spinner may redraw the line of the URL, and never end a line at all.
    """
    if b"\r" not in chunk:
        return chunk
    return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\r\n")


async def _read(fd: int) -> bytes:
    """The next bytes of a pipe; none when it has ended."""
    # To wait first would cost a flood two more calls of the system for each piece.
    await anyio.lowlevel.checkpoint()
    while True:
        try:
            return os.read(fd, READ)
        except BlockingIOError:
            await anyio.wait_readable(fd)
        except OSError:
            return b""


class _LogBudget:
    """So many lines at once and a tenth of it a second: a flood shall not fill a disk."""

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
