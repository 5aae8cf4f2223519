"""`prx start` at a real terminal, under a real shell: the agent works as if started alone."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Iterator

import pytest

from support.agent_run import AGENT
from support.command import PATIENCE, Prx
from support.http_server import free_port
from support.proc import gone, parent, state
from support.programs import needs_program
from support.terminal import Terminal, terminal


@pytest.fixture
def shell(prx: Prx) -> Iterator[Terminal]:
    """An interactive shell."""
    command = [needs_program("bash"), "--norc", "--noprofile", "-i"]
    env = {**prx.environ, "TERM": "dumb", "PS1": "$ ", "HISTFILE": ""}
    with terminal(command, env) as opened:
        yield opened


def start(shell: Terminal, prx: Prx) -> int:
    """Type the command, wait for the agent; its process id."""
    prx.use_port(free_port())
    script = prx.home / "start"
    script.write_text(f"exec {shlex.join(prx.command('start', '--', *AGENT))}\n")
    shell.type(f"sh {script}\n")
    return int(shell.until(r"I am (\d+)")[1])


def test_ctrl_c_reaches_the_agent_once_and_its_input_is_the_terminal(
    shell: Terminal, prx: Prx
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


def test_an_interrupt_that_is_sent_to_prx_alone_is_passed_on(shell: Terminal, prx: Prx) -> None:
    """In the foreground of a terminal, who has sent it decides."""
    agent = start(shell, prx)
    os.kill(parent(agent), signal.SIGINT)
    shell.until("got SIGINT")
    shell.type("exit 0\n")
    shell.until(r"\$ ")


def test_ctrl_z_stops_both_and_fg_goes_on(shell: Terminal, prx: Prx) -> None:
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


def test_the_closing_of_the_terminal_ends_both(shell: Terminal, prx: Prx) -> None:
    """The agent's input ends with it; prx waits for the agent, not for its terminal."""
    agent = start(shell, prx)
    both = [agent, parent(agent)]
    shell.close()
    gone(both, within=10)
    assert prx.left() == ["default.lock"]
