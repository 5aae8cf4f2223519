"""What the agent of `prx start` leaves in the background, and who ends it."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.agent_run import AgentRun
from support.command import Prx
from support.proc import alive, gone, program

WITHIN = 10.0
Shell = Callable[[str], AgentRun]


@pytest.fixture
def agent(prx: Prx) -> Iterator[Shell]:
    """A shell as the agent; whatever says `left PID` is ended with the test."""
    runs: list[AgentRun] = []

    def begin(script: str) -> AgentRun:
        runs.append(AgentRun(prx, "--config", str(without_tunnel), "--", "/bin/sh", "-c", script))
        return runs[-1]

    without_tunnel = prx.home / "agent.toml"
    without_tunnel.write_text("[gateway]\nport = 3000\n")
    yield begin
    for run in runs:
        run.close()
        for line in run.lines:
            if line.startswith("left ") and alive(pid := int(line.split()[1])):
                os.kill(pid, signal.SIGKILL)


def left(run: AgentRun) -> int:
    return int(run.until("left ").split()[1])


def guard_of(run: AgentRun) -> int:
    prx = run.process.pid
    (found,) = (
        int(child)
        for child in Path(f"/proc/{prx}/task/{prx}/children").read_text().split()
        if b"guard_main.py" in Path(f"/proc/{child}/cmdline").read_bytes()
    )
    return found


def in_background(*command: str) -> str:
    return f"setsid {shlex.join(command)} </dev/null >/dev/null 2>&1 & echo left $!"


@pytest.mark.parametrize("end", ["exit 3", "kill -KILL $$"])
def test_what_an_agent_left_that_ended_lives_on(agent: Shell, end: str) -> None:
    run = agent(f"{in_background('sleep', '997')}; {end}")
    sleeper = left(run)
    assert run.end() in (3, 128 + signal.SIGKILL)
    assert alive(sleeper)


def test_what_a_killed_prx_leaves_is_asked_to_leave_and_ends(agent: Shell, tmp_path: Path) -> None:
    asked, ready = tmp_path / "asked", tmp_path / "ready"
    os.mkfifo(ready)
    polite = program(f"on:TERM,touch:{asked}+exit:0", f"gate:{ready}", "hang")
    run = agent(f"{in_background(*polite)}; : >{ready}; echo ready; exec sleep 997")
    pids = [left(run)]
    run.until("ready")
    run.process.kill()
    gone(pids, WITHIN)
    assert asked.exists()


@pytest.mark.parametrize("killed", [False, True])
def test_a_tunnel_that_the_agent_detached_lives_on(prx: Prx, agent: Shell, killed: bool) -> None:
    start = shlex.join(prx.command("tunnel", "start", "--detach", "--name", "other", "--config"))
    run = agent(f"{start} {prx.config} && echo detached; read line")
    run.until("detached")
    daemon = prx.status("other")["pid"]
    its_guard = guard_of(run)
    if killed:
        run.process.kill()
    else:
        run.tell("end")
    run.end()
    gone([its_guard], WITHIN)
    status = prx.status("other")
    assert (status["state"], status["pid"]) == ("connected", daemon)
    variables = Path(f"/proc/{daemon}/environ").read_bytes()
    assert f"HOME={prx.home}".encode() in variables
    assert b".agent;" not in variables
