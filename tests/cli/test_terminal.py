"""What a person at a terminal sees: a real one (a pty), narrow, without colours, with Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.command import PATIENCE, Prx

URL = "https://a-rather-long-name-of-four-words.trycloudflare.com"
SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A `prx tunnel start` that sits at a terminal; `seen` is what was sent to its screen."""

    def __init__(self, prx: Prx, columns: int, environ: dict[str, str]) -> None:
        self._screen, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *prx.command("tunnel", "start")],
            env={**prx.environ, "TERM": "xterm-256color", **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.seen = ""

    def until(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in SEQUENCES.sub("", self.seen):
            assert time.monotonic() < deadline, self.seen
            if not self._read():
                break
        assert text in SEQUENCES.sub("", self.seen), self.seen

    def _read(self) -> bool:
        try:
            chunk = os.read(self._screen, 65536)
        except OSError:  # how Linux tells that the other side has closed
            return False
        self.seen += chunk.decode()
        return bool(chunk)

    def press(self, key: bytes) -> None:
        os.write(self._screen, key)

    def end(self) -> int:
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self._screen >= 0:
            os.close(self._screen)
            self._screen = -1

    def kill(self) -> None:
        self.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextmanager
def terminal(prx: Prx, columns: int = 80, **environ: str) -> Iterator[Terminal]:
    screen = Terminal(prx, columns, environ)
    try:
        yield screen
    finally:
        screen.kill()


@pytest.mark.parametrize("columns", [20, 80])
def test_the_url_stands_alone_and_whole(prx: Prx, columns: int) -> None:
    prx.configure(lab=f"url = '{URL}'")
    with terminal(prx, columns) as screen:
        screen.until("connected fo")  # the living line is cut, and only that
        lines = [SEQUENCES.sub("", line) for line in screen.seen.splitlines()]
        assert URL in lines
        assert "[WARN] this is PUBLIC: anyone with the URL can reach localhost:3000" in lines
        assert f"[INFO] Tunnel connected: {URL} -> localhost:3000" in lines
        screen.press(b"\x03")
        assert screen.end() == 0
        assert "[INFO] Tunnel stopped" in screen.seen
        assert "Traceback" not in screen.seen
    assert prx.left() == ["default.lock"]


def test_ctrl_c_twice_is_one_clean_stop(prx: Prx) -> None:
    with terminal(prx) as screen:
        screen.until("connected for")
        screen.press(b"\x03\x03\x03")
        assert screen.end() == 0
        assert "Traceback" not in screen.seen


def test_a_reconnect_shows_its_reason_and_counts_down(prx: Prx) -> None:
    gate = prx.home / "gate"
    os.mkfifo(gate)
    prx.configure(lab=f"gate = '{gate}'")
    slow = prx.config.read_text().replace("_ms = 10\n", "_ms = 60000\n")
    prx.config.write_text(slow.replace("_ms = 1\n", "_ms = 60000\n"))
    with terminal(prx) as screen:
        screen.until("connected for")
        gate.write_text("the server closed the connection")
        screen.until(": the server closed the connection")
        screen.until("reconnecting: attempt 1 of 10 in ")
        assert "\x1b[33m" in screen.seen


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_h20_without_colours(prx: Prx, variable: str, value: str) -> None:
    with terminal(prx, 80, **{variable: value}) as screen:
        screen.until("PUBLIC")
        screen.press(b"\x03")
        assert screen.end() == 0
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", screen.seen)


def test_a_failure_is_said_once_at_the_end(prx: Prx) -> None:
    prx.configure(lab="steps = ['setup the token is not valid']")
    with terminal(prx) as screen:
        assert screen.end() == 1
        assert screen.seen.count("the token is not valid") == 1
        assert screen.seen.endswith("prx: the token is not valid\r\n")


def test_the_closing_of_the_terminal_is_a_clean_stop(prx: Prx) -> None:
    with terminal(prx) as screen:
        screen.until("connected for")
        screen.close()
        assert screen.process.wait(PATIENCE) == 0
    assert prx.left() == ["default.lock"]
