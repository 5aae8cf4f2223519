"""Many cycles use nothing up, and running out of a resource is a ConnectError."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from prx_tunnel_core.process import open_process
from support.proc import PROGRAMS, children, descriptors, heard, host, memory, starts

CYCLES = 150


@pytest.mark.anyio
async def test_i07_many_cycles_leave_everything_as_it_was(anyio_backend: str) -> None:
    async def cycle() -> None:
        async with open_process(["/bin/sh", "-c", "echo up; exec sleep 1000"]) as process:
            await process.first_match(starts("up"))

    async def cycles(count: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(repeat, count // 3)

    async def repeat(count: int) -> None:
        for _ in range(count):
            await cycle()

    await cycles(15)
    before, tasks, size = descriptors(), _tasks(anyio_backend), memory()
    await cycles(CYCLES)
    assert len(descriptors()) == len(before)
    assert _tasks(anyio_backend) == tasks
    assert memory() - size < 4 << 20
    assert not children()


def _tasks(backend: str) -> int:
    if backend == "asyncio":
        return len(asyncio.all_tasks())
    import trio

    return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.anyio
async def test_fifty_programs_at_once() -> None:
    ready = 0

    async def run() -> None:
        nonlocal ready
        async with open_process(["/bin/sh", "-c", "echo up; exec sleep 1000"]) as process:
            await process.first_match(starts("up"))
            ready += 1
            if ready == 50:
                tasks.cancel_scope.cancel()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(run)
    assert ready == 50


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a14_i03_without_descriptors_it_is_tried_again_later(backend: str) -> None:
    with host(PROGRAMS / "starved.py", backend) as process:
        _, refusals, _, *counts = heard(process)
        assert process.wait() == 0
    assert 0 < int(refusals) < 12
    assert len(counts) == 1, "no half of a pipe stays open"


def test_t07_without_descriptors_for_a_guard_none_stays_open() -> None:
    with host(PROGRAMS / "guard_starved.py") as process:
        _, started, _, *counts = heard(process)
        assert process.wait() == 0
    assert 0 < int(started) < 8
    assert len(counts) == 1


def test_a14_i04_without_processes_it_is_tried_again_later() -> None:
    with host(PROGRAMS / "unforkable.py") as process:
        said = " ".join(heard(process))
        assert process.wait() == 0
    assert said == "/bin/true could not be started: Resource temporarily unavailable"
