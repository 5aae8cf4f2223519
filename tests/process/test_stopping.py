"""Leaving the context asks every process of the group to end, then kills what is left."""

from __future__ import annotations

import os
import signal
import sys
import time

import anyio
import pytest

from prx_tunnel_core.process import _group, open_process
from support.proc import (
    PROGRAMS,
    TESTS,
    Gate,
    alive,
    children,
    pid_of,
    program,
    starts,
    state,
    until,
)
from support.programs import needs_program

pytestmark = pytest.mark.anyio

GRACE = 0.2


async def test_a_program_that_obeys_is_stopped_at_once() -> None:
    async with open_process(program("print:up", "hang"), grace=30) as process:
        await process.first_match(starts("up"))
        begun = time.monotonic()
    assert time.monotonic() - begun < 1
    assert process.returncode == -signal.SIGTERM


async def test_what_it_says_while_it_leaves_is_read() -> None:
    lines: list[str] = []
    command = program("on:TERM,print:closing+print:bye+exit:0", "print:up", "hang")
    async with open_process(command, on_line=lines.append) as process:
        await process.first_match(starts("up"))
    assert lines == ["up", "closing", "bye"]
    assert process.returncode == 0


async def test_c01_one_that_ignores_term_is_killed_after_the_grace() -> None:
    async with open_process(program("ignore:TERM", "print:up", "hang"), grace=GRACE) as process:
        await process.first_match(starts("up"))
        begun = time.monotonic()
    assert GRACE <= time.monotonic() - begun < GRACE + 0.5
    assert process.returncode == -signal.SIGKILL


async def test_b08_a_stopped_program_leaves_in_order() -> None:
    command = program("on:TERM,print:bye+exit:0", "print:up", "stop", "hang")
    async with open_process(command, grace=30) as process:
        await process.first_match(starts("up"))
        await until(lambda: state(process.pid) == "T")
    assert (process.returncode, process.tail[-1]) == (0, "bye")


async def test_c03_what_left_the_group_is_ended() -> None:
    command = program("escape:ignore:TERM;pid:escaped;hang", "print:up", "hang")
    async with open_process(command) as process:
        escaped = await pid_of(process, "escaped")
        begun = time.monotonic()
    assert not alive(escaped)
    assert time.monotonic() - begun < 1.5


async def test_members_that_outlive_the_leader_have_the_grace_too(gate: Gate) -> None:
    # The leader goes at once; the member needs the gate, which opens only after that.
    member = f"child:on:TERM,eprint:leaving+gate:{gate.path}+eprint:left+exit:0;pid:member;hang"
    lines: list[str] = []

    async def open_gate_later(leader: int) -> None:
        await until(lambda: "leaving" in lines and not alive(leader))
        gate.open()

    async with anyio.create_task_group() as tasks:
        command = program(member, "hang")
        async with open_process(command, grace=30, on_line=lines.append) as process:
            await pid_of(process, "member")
            tasks.start_soon(open_gate_later, process.pid)
    assert lines[-1] == "left"


async def test_a_member_that_ignores_term_is_killed_after_the_grace() -> None:
    command = program("child:ignore:TERM;pid:member;hang", "hang")
    async with open_process(command, grace=GRACE) as process:
        member = await pid_of(process, "member")
        begun = time.monotonic()
    assert not alive(member)
    assert GRACE <= time.monotonic() - begun < GRACE + 1


async def test_stop_signals_are_sent_in_turn() -> None:
    command = program("on:INT,print:once+ignore:INT", "print:up", "hang")
    signals = (signal.SIGINT, signal.SIGTERM)
    async with open_process(command, grace=GRACE, stop_signals=signals) as process:
        await process.first_match(starts("up"))
    assert process.returncode == -signal.SIGTERM
    assert process.tail[-1] == "once"


async def test_the_same_signal_twice_means_now() -> None:
    """As for cloudflared: the first begins to drain, the second ends the draining."""
    command = program("on:INT,print:draining+again:INT,exit:5", "print:up", "hang")
    signals = (signal.SIGINT, signal.SIGINT)
    async with open_process(command, grace=GRACE, stop_signals=signals) as process:
        await process.first_match(starts("up"))
    assert (process.returncode, process.tail[-1]) == (5, "draining")


async def test_without_signals_it_is_killed_right_away() -> None:
    async with open_process(program("print:up", "hang"), grace=30, stop_signals=()) as process:
        await process.first_match(starts("up"))
    assert process.returncode == -signal.SIGKILL


async def test_c10_an_end_of_its_own_while_it_is_stopped(gate: Gate) -> None:
    for _ in range(10):
        async with open_process(program("print:up", f"gate:{gate.path}", "exit:0")) as process:
            await process.first_match(starts("up"))
            gate.open()
        assert process.returncode in (0, -signal.SIGTERM)


async def test_leaving_after_the_end_waits_for_nothing() -> None:
    async with open_process(program("exit:4"), grace=30) as process:
        await process.wait()
        begun = time.monotonic()
    assert time.monotonic() - begun < 1
    assert process.returncode == 4


async def test_no_signal_reaches_a_group_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id could be another group's by then."""
    sent: list[int] = []
    real = _group.signal_group

    def record(pid: int, *signals: signal.Signals) -> bool:
        sent.append(pid)
        return real(pid, *signals)

    async with open_process(program("exit:0")) as process:
        await process.wait()
        monkeypatch.setattr(_group, "signal_group", record)
    assert sent == []


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt, SystemExit])
async def test_an_exception_of_the_body_arrives_as_it_was(error: type[BaseException]) -> None:
    mine = error("mine")
    with pytest.raises(error) as caught:
        async with open_process(program("hang")):
            raise mine
    assert caught.value is mine
    assert not children()


async def test_a_group_number_with_only_zombies_is_nobody() -> None:
    async with open_process(program("child:exit:0", "print:up", "hang")) as process:
        await process.first_match(starts("up"))
        assert _group.group_alive(process.pid)
    assert not _group.group_alive(process.pid)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_numbers_of_another_namespace_are_not_believed() -> None:
    """`unshare --pid` leaves the /proc of outside, which lists other processes than we signal."""
    unshare = [needs_program("unshare"), "-Ur", "--pid", "--fork", "--kill-child"]
    if (await anyio.run_process([*unshare, "true"], check=False)).returncode:
        pytest.skip("needs Linux with PID namespaces for every user")
    if os.stat(sys.executable).st_uid != os.geteuid():
        pytest.skip(
            "only one user has a name in the namespace: the owner of this interpreter is unknown "
            "there, so that it is not a program that may be run"
        )
    path = os.pathsep.join((str(TESTS), str(TESTS.parent)))
    # The first process of a namespace has to take what is dead, as a shell does.
    shell = ["sh", "-c", '"$@"; exit $?', "sh"]
    done = await anyio.run_process(
        [*unshare, *shell, sys.executable, "-W", "error", str(PROGRAMS / "foreign_proc.py")],
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )
    assert (done.stdout, done.stderr) == (b"None nobody is left\n", b"")
