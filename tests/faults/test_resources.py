"""I: what runs out, and what must not."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from prx_tunnel_core import Backend, BackendConfig, Connected, Connection, Reconnecting, Target
from prx_tunnel_core._control.server import serve
from prx_tunnel_core.tunnel import Tunnel
from support.command import Prx
from support.faults import FOR_EVER, URL, starting
from support.memory import FakeProber, Memory, MemoryConnection
from support.proc import descriptors
from support.tunnel_scenarios import reached
from support.virtual import IsolatedTunnel, no_plugins

pytestmark = pytest.mark.anyio

REAL_HUNGER = 1 << 62  # bytes, which no machine has


class Hungry:
    """A backend that asks for more memory than there is, wherever it is asked to do something."""

    def __init__(self) -> None:
        self.tried = 0

    @asynccontextmanager
    async def connect(self, config: BackendConfig, target: Target) -> AsyncIterator[Connection]:
        self.tried += 1
        if self.tried == 1:
            bytearray(REAL_HUNGER)
        yield HungryConnection(URL)


class HungryConnection(MemoryConnection):
    async def check(self) -> list[object]:  # type: ignore[override]
        return [bytearray(REAL_HUNGER)]


async def test_i05_memory_that_runs_out_is_contained() -> None:
    backend = Backend(name="hungry", summary="", config=BackendConfig, connect=Hungry().connect)
    table = {"backend": "hungry", "reconnect": FOR_EVER}
    tunnel = IsolatedTunnel(table, backend=backend, plugins=no_plugins(), prober=FakeProber())
    async with starting(tunnel) as statuses:
        assert "MemoryError" in (await reached(statuses, Reconnecting)).reason
        await reached(statuses, Connected)
        provider = (await tunnel.health_check()).check("provider")
        assert provider is not None
        assert provider.verdict == "unknown"
        assert isinstance(tunnel.status, Connected)


async def test_i07_a_thousand_reconnects_leave_everything_as_it_was() -> None:
    memory = Memory()
    table = {"backend": "memory", "reconnect": FOR_EVER}
    tunnel = IsolatedTunnel(
        table, backend=memory.backend(), plugins=no_plugins(), prober=FakeProber()
    )
    async with tunnel, serve(tunnel):
        await tunnel.start()
        await drop(tunnel, memory, 20)
        before = len(descriptors()), threading.active_count(), len(asyncio.all_tasks())
        await drop(tunnel, memory, 1000)
        after = len(descriptors()), threading.active_count(), len(asyncio.all_tasks())
        assert after == before
        assert (memory.attempts, memory.most_open) == (1021, 1)


async def drop(tunnel: Tunnel, memory: Memory, times: int) -> None:
    statuses = tunnel.watch()
    await reached(statuses, Connected)
    for _ in range(times):
        memory.connection.drop("gone")
        await reached(statuses, Connected)


@pytest.mark.parametrize("mode", [[], ["--detach"]])
def test_i08_a_crash_leaves_no_core(prx: Prx, mode: list[str]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard[1], hard[1]))
    try:
        pid = prx.detach() if mode else prx.connected().pid
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, hard)
    assert resource.prlimit(pid, resource.RLIMIT_CORE)[0] == 0
    os.kill(pid, signal.SIGSEGV)
    deadline = time.monotonic() + 30
    while prx("tunnel", "status").returncode != 3:
        assert time.monotonic() < deadline
    assert not [path for path in prx.home.rglob("core*") if path.is_file()]


async def test_i09_a_slow_disk_does_not_hold_up_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits until a disk has what was written: there is nothing to lose in a crash."""
    synced: list[str] = []
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(tmp_path / "runtime"))
    for name in ("fsync", "fdatasync", "sync"):
        monkeypatch.setattr(os, name, lambda *_, name=name: synced.append(name))
    memory = Memory()
    table = {"backend": "memory", "reconnect": FOR_EVER}
    tunnel = IsolatedTunnel(
        table, backend=memory.backend(), plugins=no_plugins(), prober=FakeProber()
    )
    async with tunnel, serve(tunnel):
        await tunnel.start()
        await drop(tunnel, memory, 5)
        await tunnel.health_check()
    assert synced == []
