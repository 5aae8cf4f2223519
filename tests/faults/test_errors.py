"""G: errors that end a tunnel, and people and plugins that must not."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import anyio
import pytest

from prx_tunnel_core import (
    Connected,
    Failed,
    PluginRegistry,
    SetupError,
    TunnelStatus,
    hookimpl,
)
from prx_tunnel_core.process._reaper import sweep
from support.command import Prx
from support.faults import TOKEN, Cloudflared, Programs, both_loops, starting
from support.memory import FakeProber, Memory
from support.tunnel_scenarios import reached
from support.virtual import IsolatedTunnel, in_memory, virtual

pytestmark = pytest.mark.anyio

LOUD = {"play": ["c04-unauthorized-secret-http2-text", 0]}
AT_FIRST = {"play": ["c05-register-error-permanent-quic", 0]}


def test_g12_a_second_start_is_refused_whatever_its_settings(prx: Prx) -> None:
    first = prx.connected()
    prx.configure(reconnect="max_attempts = 3")
    for detach in ([], ["--detach"]):
        done = prx("tunnel", "start", "--port", "4567", *detach)
        assert done.returncode == 2
        assert done.stderr.endswith(
            f"prx: tunnel 'default' is already running in process {first.pid}; "
            "stop it with `prx tunnel stop --name default`, or choose another --name\n"
        )
    assert prx.status()["info"]["local_port"] == 3000


@both_loops
async def test_g14_a_defect_of_the_supervisor_ends_the_program_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def climb(*_: object, **__: object) -> bool:
        raise ZeroDivisionError("oops")

    programs = Programs()
    monkeypatch.setattr("prx_tunnel_core._supervisor.backoff.Backoff.next", climb)
    async with starting(programs.tunnel()) as statuses:
        await reached(statuses, Connected)
        programs.latest.kill()
        failed = await reached(statuses, Failed)
        assert failed.message == "a defect of prx-tunnel: ZeroDivisionError"
        assert sweep.running() == []
    assert "oops" in caplog.text


async def test_g15_what_must_be_fixed_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prx_tunnel_cloudflare import readiness

    monkeypatch.setattr(readiness, "REFUSED_FOR", 0.0)
    cloudflared = Cloudflared(tmp_path, LOUD)
    name = "app.example.com"
    async with cloudflared.tunnel(token=TOKEN, protocol="http2", hostname=name) as tunnel:
        with pytest.raises(SetupError, match=r"Unauthorized: Invalid tunnel secret.*copy the"):
            await tunnel.start()
        assert isinstance(tunnel.status, Failed)
        await anyio.sleep(0.05)
    assert len(cloudflared.program.runs) == 1


async def test_g16_what_only_looks_permanent_is_given_time(tmp_path: Path) -> None:
    """A new tunnel is refused for moments, while it spreads through Cloudflare's network."""
    cloudflared = Cloudflared(tmp_path, AT_FIRST)
    async with cloudflared.tunnel(token=TOKEN, hostname="app.example.com") as tunnel:
        assert (await tunnel.start()).public_url == "https://app.example.com"
    assert len(cloudflared.program.runs) == 1


class Raising:
    @hookimpl
    def prx_tunnel_status_changed(self, new: TunnelStatus) -> None:
        raise SystemExit(9)


class Blocking:
    """Like a request to a server that does not answer."""

    def __init__(self) -> None:
        self.release = threading.Event()

    @hookimpl
    def prx_tunnel_status_changed(self, new: TunnelStatus) -> None:
        self.release.wait(30)


class Counting:
    def __init__(self) -> None:
        self.told: list[TunnelStatus] = []

    @hookimpl
    def prx_tunnel_status_changed(self, new: TunnelStatus) -> None:
        self.told.append(new)


@both_loops
async def test_g17_who_raises_or_blocks_harms_nobody() -> None:
    plugins = PluginRegistry(entry_points=list)
    blocking, counting = Blocking(), Counting()
    for plugin in (Raising(), blocking, counting):
        plugins.register(plugin)
    memory = Memory()
    config = {"backend": "memory"}
    async with IsolatedTunnel(
        config, backend=memory.backend(), plugins=plugins, prober=FakeProber()
    ) as tunnel:
        begun = time.monotonic()
        for _ in range(5):
            await tunnel.start()
            await tunnel.stop()
        assert time.monotonic() - begun < 2, "nobody waits for a plugin"
        blocking.release.set()
    assert len(counting.told) == 15
    while any("foreign call" in thread.name for thread in threading.enumerate()):
        await anyio.sleep(0.002)


@virtual
async def test_g17_who_never_listens_costs_a_bounded_queue() -> None:
    async with in_memory(Memory()) as tunnel:
        watch = tunnel.watch()
        for _ in range(500):
            await tunnel.start()
            await tunnel.stop()
    seen = [type(status).__name__ async for status in watch]
    assert len(seen) <= 64
    assert seen[-1] == "Stopped"
