"""Cancellation at any await leaves nothing of the program; the fixture in conftest.py checks it."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import anyio
import pytest

from prx_tunnel_core.process import TunnelProcess, open_process
from prx_tunnel_core.process._reaper import sweep
from support.proc import alive, children, pid_of, program, starts

STUBBORN = program("escape:ignore:TERM;pid:escaped;hang", "ignore:TERM", "print:up", "hang")


OBEDIENT = program("print:up", "hang")
# Its leader leaves when asked; those who stay have to be killed, wherever the stop is interrupted.
WITH_A_STUBBORN_CHILD = program("child:ignore:TERM;print:up;hang", "hang")


async def connect(command: list[str]) -> None:
    """Everything that a backend awaits of a program."""
    async with open_process(command, grace=0.03) as process:
        await process.first_match(starts("up"))


@types.coroutine
def interrupted(
    work: Coroutine[Any, Any, None], at: set[int], interrupt: Callable[[], object]
) -> Generator[Any, Any, int]:
    """Run the work, interrupt it at the given suspensions, and return how many there were."""
    resume: Callable[[Any], Any] = work.send
    value: object = None
    for count in itertools.count(1):
        try:
            trap = resume(value)
        except StopIteration:
            return count - 1
        if count in at:
            interrupt()
        try:
            value, resume = (yield trap), work.send
        except BaseException as error:
            value, resume = error, work.throw
    raise AssertionError


commands = pytest.mark.parametrize("command", [OBEDIENT, WITH_A_STUBBORN_CHILD])


@pytest.mark.anyio
@commands
async def test_a16_cancelled_at_every_await(command: list[str]) -> None:
    for at in itertools.count(1):
        with anyio.CancelScope() as scope:
            awaits = await interrupted(connect(command), {at}, scope.cancel)
        assert not children()
        assert not sweep.running()
        if not scope.cancel_called:
            assert awaits < at
            break
    assert at > 3, "to be read, to be stopped, to be swept: it has waited for each"


@commands
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a16_cancelled_by_asyncio_at_every_await(times: int, command: list[str]) -> None:
    async def main(at: int) -> bool:
        task = asyncio.current_task()
        assert task is not None
        try:
            await interrupted(connect(command), set(range(at, at + times)), task.cancel)
        except asyncio.CancelledError:
            pass
        else:
            assert not task.cancelling()
        assert not children()
        assert not sweep.running()
        return bool(task.cancelling())

    for at in itertools.count(1):
        if not asyncio.run(main(at)):
            break
    assert at > 3


@pytest.mark.anyio
async def test_c13_cancelling_does_not_shorten_the_grace() -> None:
    command = program("on:TERM,sleep:0.1+print:bye+exit:0", "print:up", "hang")
    with anyio.CancelScope() as scope:
        async with open_process(command, grace=30) as process:
            await process.first_match(starts("up"))
            scope.cancel()
    assert (process.returncode, process.tail[-1]) == (0, "bye")


@pytest.mark.anyio
async def test_c13_cancelled_while_it_is_stopped() -> None:
    async with anyio.create_task_group() as tasks:

        async def stop() -> None:
            async with open_process(STUBBORN, grace=0.1) as process:
                pids.append(await pid_of(process, "escaped"))
                pids.append(process.pid)
                await process.first_match(starts("up"))
                leaving.set()

        pids: list[int] = []
        leaving = anyio.Event()
        tasks.start_soon(stop)
        await leaving.wait()
        tasks.cancel_scope.cancel()
    assert not any(map(alive, pids))


@pytest.mark.anyio
async def test_a_deadline_around_everything() -> None:
    begun = time.monotonic()
    with anyio.move_on_after(0.2) as scope:
        async with open_process(program("print:nothing useful", "hang")) as process:
            await process.first_match(starts("https"))
    assert scope.cancelled_caught
    assert time.monotonic() - begun < 1.2
    assert process.returncode == -signal.SIGTERM


# What follows is asyncio's own cancellation, which knows no shields.


async def up_for_ever(command: list[str], pids: list[int], grace: float = 5.0) -> None:
    async with open_process(command, grace=grace) as process:
        await process.first_match(starts("up"))
        pids.append(process.pid)
        await asyncio.sleep(3600)


async def is_up(pids: list[int]) -> None:
    while not pids:
        await asyncio.sleep(0.002)


def test_a_timeout_of_asyncio_ends_the_program() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with (
                asyncio.timeout(None) as limit,
                open_process(program("print:up", "hang")) as p,
            ):
                await p.first_match(starts("up"))
                limit.reschedule(asyncio.get_running_loop().time())
                await asyncio.sleep(3600)
        assert p.returncode == -signal.SIGTERM

    asyncio.run(main())


def test_c17_the_end_of_asyncio_run_is_an_orderly_stop() -> None:
    """It cancels every task at once, also those that read and watch."""
    pids: list[int] = []
    lines: list[str] = []

    async def tunnel() -> None:
        command = program("on:TERM,sleep:0.05+print:bye+exit:0", "print:up", "hang")
        async with open_process(command, grace=30, on_line=lines.append) as process:
            await process.first_match(starts("up"))
            pids.append(process.pid)
            await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(tunnel())
        await is_up(pids)
        assert not task.done()

    begun = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - begun < 10
    assert lines[-1] == "bye"


@pytest.mark.parametrize("pause", [0, 0.01])
def test_c16_cancelled_again_while_it_stops(pause: float) -> None:
    """No second chance for an orderly end, so it is a quick one."""
    pids: list[int] = []

    async def main() -> None:
        task = asyncio.create_task(up_for_ever(STUBBORN, pids, grace=30))
        await is_up(pids)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(pause)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not sweep.running()

    begun = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - begun < 10


def test_whoever_waits_elsewhere_is_told_of_a_broken_end() -> None:
    async def main() -> None:
        shown: asyncio.Future[TunnelProcess] = asyncio.get_running_loop().create_future()

        async def tunnel() -> None:
            async with open_process(STUBBORN, grace=30) as process:
                await process.first_match(starts("up"))
                shown.set_result(process)
                await asyncio.sleep(3600)

        task = asyncio.create_task(tunnel())
        process = await shown
        waiting = asyncio.create_task(process.wait())
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        assert await asyncio.wait_for(waiting, 5) == -signal.SIGKILL
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
