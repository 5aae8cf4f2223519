"""The supervisor over real programs, in real time, on both loops."""

# mypy: disable-error-code="comparison-overlap"

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
import trio

from prx_tunnel_core import (
    Backend,
    BackendConfig,
    Connected,
    ConnectError,
    Connection,
    Failed,
    Reconnecting,
    Stopped,
    Target,
    TunnelProcess,
    UrlRule,
    open_process,
)
from prx_tunnel_core.process._reaper import sweep
from prx_tunnel_core.tunnel import Tunnel
from support.memory import FakeProber
from support.virtual import IsolatedTunnel, no_plugins

pytestmark = pytest.mark.anyio

URL = "https://agent.example.com"
UP = f"echo {URL}; exec sleep 1000"
RULE = UrlRule(hosts=["example.com"])


class ShellConfig(BackendConfig):
    script: str = UP
    grace: float = 0.3


class Shell:
    """A backend that runs a shell script, and remembers what it ran."""

    def __init__(self) -> None:
        self.programs: list[TunnelProcess] = []

    @asynccontextmanager
    async def connect(self, config: ShellConfig, target: Target) -> AsyncIterator[Connection]:
        async with open_process(["sh", "-c", config.script], grace=config.grace) as process:
            self.programs.append(process)
            yield process.connection(await process.first_match(RULE.find))

    def tunnel(self, script: str = UP, **config: object) -> Tunnel:
        reconnect = {"backoff_base_ms": 1, "backoff_max_ms": 1, "max_attempts": 2}
        return IsolatedTunnel(
            {"backend": "shell", "reconnect": reconnect, "shell": {"script": script}, **config},
            backend=Backend(name="shell", summary="", config=ShellConfig, connect=self.connect),
            plugins=no_plugins(),
            prober=FakeProber(),
        )


@pytest.fixture(autouse=True)
async def nothing_left(anyio_backend: str) -> AsyncIterator[None]:
    yield
    assert sweep.running() == []


async def until(tunnel: Tunnel, kind: type) -> None:
    with anyio.fail_after(10):
        statuses = tunnel.watch()
        while not isinstance(tunnel.status, kind):
            await anext(statuses)


async def test_a_program_that_dies_is_replaced() -> None:
    shell = Shell()
    async with shell.tunnel() as tunnel:
        await tunnel.start()
        statuses = tunnel.watch()
        assert isinstance(await anext(statuses), Connected)
        os.kill(shell.programs[0].pid, signal.SIGKILL)
        lost = await anext(statuses)
        assert isinstance(lost, Reconnecting)
        assert "sh was ended by SIGKILL" in lost.reason or "sleep" in lost.reason
        await until(tunnel, Connected)
        assert shell.programs[1].pid != shell.programs[0].pid


async def test_the_last_lines_of_a_program_are_the_reason() -> None:
    async with Shell().tunnel("echo one; echo 'the token is bad' >&2; exit 7") as tunnel:
        with pytest.raises(ConnectError, match=r"exited with code 7: .*the token is bad"):
            await tunnel.start()


async def test_exit_code_zero_is_a_drop_like_any_other() -> None:
    async with Shell().tunnel(f"echo {URL}") as tunnel:
        with pytest.raises(ConnectError, match=r"gave up after 2 attempts: sh exited with code 0"):
            await tunnel.start()
            await until(tunnel, Failed)
            assert isinstance(tunnel.status, Failed)
            raise ConnectError(tunnel.status.message)


@pytest.mark.parametrize("script", ["exec sleep 1000", "trap '' TERM; while :; do sleep 1; done"])
async def test_a_silent_program_is_given_up_in_bounded_time(script: str) -> None:
    shell = Shell()
    tunnel = shell.tunnel(script, connect_timeout=0.2, reconnect={"enabled": False})
    async with tunnel:
        begun = anyio.current_time()
        with pytest.raises(ConnectError, match=r"not connected within 0\.2 s; sh was silent"):
            await tunnel.start()
        assert anyio.current_time() - begun < 0.2 + 0.3 + 0.5
        assert sweep.running() == []


async def test_what_a_program_said_before_the_timeout_is_shown() -> None:
    script = "echo connecting to the edge; exec sleep 1000"
    tunnel = Shell().tunnel(script, connect_timeout=0.3, reconnect={"enabled": False})
    async with tunnel:
        with pytest.raises(ConnectError, match="sh said: connecting to the edge"):
            await tunnel.start()


@pytest.mark.parametrize("script", [UP, f"sleep 0.01; {UP}"], ids=["at once", "slow"])
async def test_cancelling_start_at_any_await_leaves_no_process(script: str) -> None:
    for steps in [*range(40), 60, 90, 140, 200]:
        shell = Shell()
        async with shell.tunnel(script) as tunnel:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tunnel.start)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            connected = isinstance(tunnel.status, Connected)
            assert connected or sweep.running() == [], steps
        assert isinstance(tunnel.status, Stopped) or not shell.programs
        assert sweep.running() == []


async def test_cancelling_the_host_leaves_no_process() -> None:
    for steps in range(0, 60, 3):
        async with anyio.create_task_group() as tasks:

            async def host() -> None:
                async with Shell().tunnel() as tunnel:
                    await tunnel.start()
                    await anyio.sleep_forever()

            tasks.start_soon(host)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        assert sweep.running() == []


async def test_hundreds_of_cycles_leave_descriptors_threads_and_tasks_as_they_were(
    anyio_backend: str,
) -> None:
    shell = Shell()
    async with shell.tunnel() as tunnel:
        for cycle in range(200):
            await tunnel.start()
            await tunnel.stop()
            if cycle == 5:
                before = resources(anyio_backend)
        descriptors, threads, tasks = resources(anyio_backend)
        assert (descriptors, tasks) == (before[0], before[2])
        assert threads <= before[1]  # an idle one ends after a while
    assert len(shell.programs) == 200


async def test_a_flood_stalls_neither_the_loop_nor_memory() -> None:
    script = (
        f"echo {URL}; head -c 300000000 /dev/zero | tr '\\0' 'x' | fold -w 100; exec sleep 1000"
    )
    shell = Shell()
    async with shell.tunnel(script) as tunnel, anyio.create_task_group() as tasks:
        worst = 0.0

        async def tick() -> None:
            nonlocal worst
            while True:
                due = anyio.current_time() + 0.005
                await anyio.sleep(0.005)
                worst = max(worst, anyio.current_time() - due)

        tasks.start_soon(tick)
        await tunnel.start()
        before = resident()
        await anyio.sleep(1)
        assert (await tunnel.health_check()).checks[0].verdict == "ok"
        assert resident() - before < 16 * 1024 * 1024
        assert len(shell.programs[0].tail) <= 50
        assert worst < 0.25  # other tests may run beside this one
        tasks.cancel_scope.cancel()


def resources(loop: str) -> tuple[int, int, int]:
    """Descriptors, threads and tasks of this process."""
    tasks = len(asyncio.all_tasks()) if loop == "asyncio" else trio_tasks()
    return len(os.listdir("/proc/self/fd")), threading.active_count(), tasks


def trio_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
