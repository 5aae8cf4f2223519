"""A program at a terminal of its own: a real one (a pty)."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from support.command import PATIENCE

_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """`seen` is all that the screen has received, `text` the same without escape sequences."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], columns: int) -> None:
        self._screen, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command], env=env, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self.seen = ""
        self._searched = 0

    @property
    def text(self) -> str:
        return _SEQUENCES.sub("", self.seen)

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def until(self, pattern: str) -> re.Match[str]:
        """The next match in `text`; what is before its end is not searched again."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.compile(pattern).search(self.text, self._searched)):
            assert time.monotonic() < deadline, self.seen
            assert self._read(), self.seen
        self._searched = match.end()
        return match

    def _read(self) -> bool:
        try:
            chunk = os.read(self._screen, 65536)
        except OSError:  # how Linux reports that the other side is closed
            return False
        self.seen += chunk.decode()
        return bool(chunk)

    def end(self) -> int:
        """The exit code, once everything is in `seen`."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Close the terminal's window."""
        if self._screen >= 0:
            os.close(self._screen)
            self._screen = -1


@contextmanager
def terminal(
    command: Sequence[str], env: Mapping[str, str], columns: int = 80
) -> Iterator[Terminal]:
    """Run the command at a terminal; it is killed if it has not ended with the context."""
    opened = Terminal(command, env, columns)
    try:
        yield opened
    finally:
        opened.close()
        if opened.process.poll() is None:
            opened.process.kill()
        opened.process.wait()
