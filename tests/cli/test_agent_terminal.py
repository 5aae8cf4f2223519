"""`prx start` at a real terminal, under a real shell: the agent works as if started alone."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from support.agent_run import AGENT
from support.command import PATIENCE, Prx
from support.http_server import free_port
from support.proc import gone, parent, state
from support.programs import needs_program

SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Shell:
    """An interactive shell; `seen` is what its screen got."""

    def __init__(self, prx: Prx) -> None:
        self._screen, theirs = os.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", needs_program("bash"), "--norc", "--noprofile", "-i"],
            env={**prx.environ, "TERM": "dumb", "PS1": "$ ", "HISTFILE": ""},
            stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def until(self, pattern: str) -> re.Match[str]:
        """The first match on the screen; what is before and in it is not looked at again."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.seen)):
            assert time.monotonic() < deadline, self.seen
            self.seen += SEQUENCES.sub("", os.read(self._screen, 65536).decode())
        self.seen = self.seen[match.end() :]
        return match

    def close(self) -> None:
        if self._screen >= 0:
            os.close(self._screen)
            self._screen = -1


@pytest.fixture
def shell(prx: Prx) -> Iterator[Shell]:
    opened = Shell(prx)
    try:
        yield opened
    finally:
        opened.close()
        if opened.process.poll() is None:
            opened.process.kill()
        opened.process.wait()


def start(shell: Shell, prx: Prx) -> int:
    """Type the command, wait for the agent; its process id."""
    prx.config.write_text(prx.config.read_text().replace("= 3000", f"= {free_port()}"))
    script = prx.home / "start"
    script.write_text(f"exec {shlex.join(prx.command('start', '--', *AGENT))}\n")
    shell.type(f"sh {script}\n")
    return int(shell.until(r"I am (\d+)")[1])


def test_ctrl_c_reaches_the_agent_once_and_its_input_is_the_terminal(
    shell: Shell, prx: Prx
) -> None:
    agent = start(shell, prx)
    for _ in range(3):
        shell.type("\x03")
        shell.until("got SIGINT")
    shell.type("\x1c")
    shell.until("got SIGQUIT")
    shell.type("exit 6\n")
    assert shell.until(r"(?s)(.*)\[INFO\] Tunnel stopped|\$ ")[0].count("got") == 0
    gone([agent], within=10)
    shell.type("echo code $?\n")
    shell.until("code 6")


def test_an_interrupt_that_is_sent_to_prx_alone_is_passed_on(shell: Shell, prx: Prx) -> None:
    """In the foreground of a terminal, who has sent it decides."""
    agent = start(shell, prx)
    os.kill(parent(agent), signal.SIGINT)
    shell.until("got SIGINT")
    shell.type("exit 0\n")
    shell.until(r"\$ ")


def test_ctrl_z_stops_both_and_fg_goes_on(shell: Shell, prx: Prx) -> None:
    agent = start(shell, prx)
    both = (agent, parent(agent))
    shell.type("\x1a")
    shell.until("Stopped")
    deadline = time.monotonic() + PATIENCE
    while [state(pid) for pid in both] != ["T", "T"]:  # the shell waits for the first only
        assert time.monotonic() < deadline
    shell.type("fg\n")
    shell.until("start")
    shell.type("url\n")
    shell.until("url ''")
    shell.type("exit 6\n")
    shell.until(r"\$ ")
    shell.type("echo code $?\n")
    shell.until("code 6")


def test_the_closing_of_the_terminal_ends_both(shell: Shell, prx: Prx) -> None:
    """The agent's input ends with it; prx waits for the agent, not for its terminal."""
    agent = start(shell, prx)
    both = [agent, parent(agent)]
    shell.close()
    gone(both, within=10)
    assert prx.left() == ["default.lock"]
