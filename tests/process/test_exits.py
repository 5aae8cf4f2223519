"""The end of a program is noticed at once, and what it started is ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import anyio
import pytest

from prx_tunnel_core.process import open_process
from support.proc import Gate, alive, children, gone, pid_of, program, starts, until

pytestmark = pytest.mark.anyio

NOTICED = 0.05  # seconds; the wait for a pipe that somebody holds is 0.02 of them


@pytest.mark.parametrize("how", ["child", "escape"])
async def test_b13_grandchild_holds_stdout(gate: Gate, how: str) -> None:
    command = program(f"{how}:ignore:TERM;pid:grandchild;hang", f"gate:{gate.path}", "exit:3")
    delays = []
    for _ in range(3):
        async with open_process(command) as process:
            grandchild = await pid_of(process, "grandchild")
            gate.open()
            await until(lambda: not alive(process.pid))
            begun = time.monotonic()
            assert await process.wait() == 3
            delays.append(time.monotonic() - begun)
            gone([grandchild], within=1)
    assert min(delays) < NOTICED


async def test_b16_what_a_daemonising_program_leaves_is_ended(gate: Gate, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    daemon_steps = f"daemonize:pid:daemon;ignore:TERM;closeout;touch:{closed};hang"
    async with open_process(program(daemon_steps, f"gate:{gate.path}", "exit:0")) as process:
        daemon = await pid_of(process, "daemon")
        await until(closed.exists)
        gate.open()
        assert await process.wait() == 0, "an end like any other"
        assert alive(daemon)
    assert not alive(daemon)


async def test_members_of_the_group_end_with_their_leader(gate: Gate) -> None:
    command = program("child:pid:member;closeout;hang", f"gate:{gate.path}", "exit:0")
    async with open_process(command) as process:
        member = await pid_of(process, "member")
        gate.open()
        await process.wait()
        gone([member], within=1)


async def test_output_is_read_to_its_end_before_wait_returns() -> None:
    async with open_process(program("flood:5", "print:last", "exit:0")) as process:
        await process.wait()
        assert process.tail[-1] == "last"


async def test_wait_may_be_called_by_many_and_again(gate: Gate) -> None:
    codes: list[int] = []
    async with open_process(program(f"gate:{gate.path}", "exit:7")) as process:

        async def wait() -> None:
            codes.append(await process.wait())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(wait)
            gate.open()
        assert await process.wait() == 7
    assert await process.wait() == 7
    assert codes == [7, 7]


async def test_a_program_that_another_reaped_is_seen_to_end(gate: Gate) -> None:
    """Some signal handlers of hosts reap every child."""
    async with open_process(program("print:up", f"gate:{gate.path}", "exit:3")) as process:
        await process.first_match(starts("up"))
        gate.open()
        os.waitpid(process.pid, 0)  # noqa: ASYNC222 - it ends at once
        await process.wait()
    assert not children()


@pytest.mark.parametrize("step", ["exit:3", "kill:KILL"])
async def test_without_pidfd_the_end_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, gate: Gate, step: str
) -> None:
    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    async with open_process(program("print:up", f"gate:{gate.path}", step)) as process:
        await process.first_match(starts("up"))
        gate.open()
        assert await process.wait() == {"exit:3": 3, "kill:KILL": -signal.SIGKILL}[step]


async def test_b21_a_busy_program_is_stopped_like_any_other() -> None:
    async with open_process(program("print:up", "burn")) as process:
        await process.first_match(starts("up"))
    assert process.returncode == -signal.SIGTERM
