"""L: what a plugin does while its tunnel runs; core owns the life cycle and the processes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from prx_tunnel_core import (
    Backend,
    BackendConfig,
    Connected,
    ConnectError,
    Connection,
    Failed,
    Reconnecting,
    SetupError,
    Target,
    Tunnel,
    hookimpl,
    open_process,
)
from prx_tunnel_core._supervisor import run
from prx_tunnel_core.process._reaper import sweep
from support.command import Prx
from support.faults import FAST, FOR_EVER, starting
from support.memory import FakeProber, Memory, MemoryConnection
from support.proc import children, descriptors, program, starts
from support.tunnel_scenarios import reached
from support.virtual import IsolatedTunnel, no_plugins

pytestmark = pytest.mark.anyio


def over(connect: Callable[..., Any], **table: Any) -> Tunnel:
    backend = Backend(name="odd", summary="", config=BackendConfig, connect=connect)
    table = {"backend": "odd", "reconnect": FAST, **table}
    return IsolatedTunnel(table, backend=backend, plugins=no_plugins(), prober=FakeProber())


class Url(MemoryConnection):
    def __init__(self, url: object) -> None:
        super().__init__("")
        self.public_url: Any = url


@pytest.mark.parametrize("error", [SystemExit(9), KeyError("boom"), asyncio.CancelledError()])
async def test_l03_what_a_backend_raises_is_not_the_end_of_the_host(error: BaseException) -> None:
    tried = 0

    @asynccontextmanager
    async def connect(config: object, target: Target) -> AsyncIterator[Connection]:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise error
        yield MemoryConnection("https://a.example.com")

    async with starting(over(connect, reconnect=FOR_EVER)) as statuses:
        lost = await reached(statuses, Reconnecting)
        assert "defect of backend 'odd'" in lost.reason or "cancelled" in lost.reason.lower()
        await reached(statuses, Connected)


@pytest.mark.parametrize(
    ("yielded", "said"),
    [
        (None, "yielded a NoneType, not a Connection"),
        ("https://a.example.com", "yielded a str, not a Connection"),
        (Url(None), "gave no valid public URL"),
        (Url(b"https://a.example.com"), "gave no valid public URL"),
        (Url("agent.example.com"), "gave no valid public URL"),
    ],
)
async def test_l10_a_connection_that_is_none(yielded: object, said: str) -> None:
    @asynccontextmanager
    async def connect(config: object, target: Target) -> AsyncIterator[object]:
        yield yielded

    async with over(connect) as tunnel:
        with pytest.raises((SetupError, ConnectError), match=said):
            await tunnel.start()


async def test_l10_a_connect_that_is_no_context_manager() -> None:
    async def connect(config: object, target: Target) -> Connection:
        return MemoryConnection("https://a.example.com")

    async with over(connect) as tunnel:
        with (
            pytest.warns(RuntimeWarning, match="never awaited"),
            pytest.raises(ConnectError, match="a defect of backend 'odd': TypeError"),
        ):
            await tunnel.start()
        import gc

        gc.collect()


class Greedy:
    """Changes all that it is given, and what belongs to the whole process."""

    @hookimpl
    def prx_tunnel_status_changed(self, new: Any) -> None:
        if isinstance(new, Connected):
            for change in (
                lambda: setattr(new, "attempt", 99),
                lambda: setattr(new.info, "public_url", "https://evil.example.com"),
                lambda: new.info.details.__setitem__("a", "b"),  # type: ignore[index]
                lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),  # not from a thread
            ):
                with pytest.raises((AttributeError, TypeError, ValueError)):
                    change()
            self.changed = True


async def test_l11_what_a_plugin_is_given_cannot_be_changed() -> None:
    plugins, greedy = no_plugins(), Greedy()
    plugins.register(greedy)
    memory = Memory()
    async with IsolatedTunnel(
        {"backend": "memory"}, backend=memory.backend(), plugins=plugins, prober=FakeProber()
    ) as tunnel:
        info = await tunnel.start()
        with anyio.fail_after(10):
            while not hasattr(greedy, "changed"):
                await anyio.sleep(0.001)
        assert info.public_url == "https://agent.example.com"
        with pytest.raises(ValueError, match="frozen"):
            tunnel.config.local_port = 22


async def test_l12_what_a_backend_leaves_is_not_held_by_core() -> None:
    """A backend that opens a file and a program in each attempt: its own `finally` is always run.

    What it opens outside of its context no core can know of; the kit for authors counts that.
    """
    held: list[int] = []

    @asynccontextmanager
    async def connect(config: object, target: Target) -> AsyncIterator[Connection]:
        descriptor = os.open(os.devnull, os.O_RDONLY)
        try:
            async with open_process(program("print:up", "hang")) as process:
                await process.first_match(starts("up"))
                held.append(process.pid)
                raise ConnectError("no")
                yield
        finally:
            os.close(descriptor)

    before = len(descriptors())
    async with over(connect, reconnect={**FAST.model_dump(), "max_attempts": 20}) as tunnel:
        with pytest.raises(ConnectError):
            await tunnel.start()
        assert (len(held), children(), sweep.running()) == (21, set(), [])
    assert len(descriptors()) <= before


@pytest.mark.parametrize("ending", ["raises", "hangs"])
async def test_l14_a_teardown_that_fails_leaves_no_program(
    ending: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run, "TEARDOWN", 0.1)

    @asynccontextmanager
    async def connect(config: object, target: Target) -> AsyncIterator[Connection]:
        async with open_process(program("print:up", "hang"), grace=0.1) as process:
            await process.first_match(starts("up"))
            try:
                yield process.connection("https://a.example.com")
            finally:
                if ending == "raises":
                    raise RuntimeError("cannot close")
                await anyio.sleep_forever()

    async with over(connect) as tunnel:
        await tunnel.start()
        with anyio.fail_after(10):
            await tunnel.stop()
        assert (children(), sweep.running()) == (set(), [])


def test_l15_the_command_of_a_plugin_that_is_gone(tmp_path: Path) -> None:
    """The running tunnel goes on, can be asked and stopped; a new start says what is missing."""
    prx = Prx(tmp_path)
    try:
        prx.detach()
        for path in (tmp_path / "site").rglob("*"):
            if path.is_file():
                path.unlink()
        assert prx("tunnel", "health").returncode == 0
        assert prx("tunnel", "stop").returncode == 0
        done = prx("tunnel", "start")
        assert (done.returncode, "called prx-tunnel-lab" in done.stderr) == (2, True)
    finally:
        prx.close()


async def test_l16_a_backend_that_is_late_or_comes_twice() -> None:
    """A connection lives inside the attempt that opened it: there is no other to mistake it for."""
    gate = anyio.Event()

    @asynccontextmanager
    async def late(config: object, target: Target) -> AsyncIterator[Connection]:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await gate.wait()
        yield MemoryConnection("https://late.example.com")

    async with over(late) as tunnel, anyio.create_task_group() as tasks:
        tasks.start_soon(swallow, tunnel.start)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(tunnel.stop)
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert tunnel.info is None
    assert type(tunnel.status).__name__ == "Stopped"

    @asynccontextmanager
    async def twice(config: object, target: Target) -> AsyncIterator[Connection]:
        yield Url("https://a.example.com")
        logging.getLogger("prx_tunnel_core").debug("and once more")
        yield Url("https://b.example.com")

    async with over(twice) as tunnel:
        assert (await tunnel.start()).public_url == "https://a.example.com"
        await tunnel.stop()
        assert type(tunnel.status).__name__ in ("Stopped", Failed.__name__)


async def swallow(start: Callable[[], Any]) -> None:
    with pytest.raises(Exception, match="stopped"):
        await start()
