"""F: when health is looked at, and what follows from it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest
import trio.testing

from prx_tunnel_core import Check, Connected, Reconnecting, Target, TunnelHealth
from prx_tunnel_core.process import _process
from prx_tunnel_core.process._exit_watch import ExitWatch
from support.command import PATIENCE, Prx
from support.faults import FOR_EVER, WITHIN, Cloudflared, Programs, of_plugin, starting
from support.memory import FakeProber, Memory
from support.tunnel_scenarios import reached
from support.virtual import in_memory, virtual

pytestmark = pytest.mark.anyio

FAIL, FINE = Check("public", "fail", "HTTP 530"), Check("public", "ok")


async def after_each(prober: FakeProber, *verdicts: Check) -> None:
    """Let one check after the other come out like that; the interval is 10 s."""
    for verdict in verdicts:
        prober.public_verdict = verdict
        await anyio.sleep(10)
        await trio.testing.wait_all_tasks_blocked()


@virtual
async def test_f12_a_single_failure_is_forgotten_after_a_success() -> None:
    prober = FakeProber()
    async with in_memory(Memory(), prober=prober, health_check_interval=10) as tunnel:
        await tunnel.start()
        await after_each(prober, FINE, FAIL, FINE, FAIL, FAIL, FINE, FAIL)
        assert tunnel.states == ["Connecting", "Connected"]


@virtual
async def test_f13_one_failure_fewer_than_needed_for_ever_restarts_nothing() -> None:
    prober, memory = FakeProber(), Memory()
    async with in_memory(memory, prober=prober, health_check_interval=10) as tunnel:
        await tunnel.start()
        await after_each(prober, *[FAIL, FAIL, FINE] * 50)
        assert memory.attempts == 1
        await after_each(prober, FAIL, FAIL, FAIL)
        assert "Reconnecting" in tunnel.states


@virtual
async def test_f14_a_check_that_raises_is_unknown_and_the_next_one_follows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(FakeProber):
        async def local(self, target: Target) -> Check:
            self.asked += 1
            raise ZeroDivisionError("oops")

    prober, memory = Broken(), Memory()
    async with in_memory(
        memory, prober=prober, health_check_interval=10, health_check_url=False
    ) as tunnel:
        await tunnel.start()
        await anyio.sleep(55)
        assert isinstance(tunnel.last_health, TunnelHealth)
        local = tunnel.last_health.check("local")
        assert local is not None
        assert local.verdict == "unknown"
        assert (prober.asked, memory.attempts) == (5, 1)
    assert "ZeroDivisionError: oops" in caplog.text


@virtual
async def test_f15_a_slow_check_is_never_doubled_and_the_next_counts_from_its_end() -> None:
    prober = FakeProber()
    prober.takes = 40
    async with in_memory(Memory(), prober=prober, health_check_interval=30) as tunnel:
        await tunnel.start()
        await anyio.sleep(30 + 40 + 30 + 40 + 1)
        assert prober.asked == 2
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(tunnel.health_check)
        assert prober.most_running == 1


@virtual
async def test_f16_a_result_that_comes_after_the_drop_is_not_the_new_connections() -> None:
    prober, memory = FakeProber(), Memory()
    prober.takes = 5
    results = []
    async with in_memory(memory, prober=prober) as tunnel:
        await tunnel.start()

        async def check() -> None:
            results.append(await tunnel.health_check())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(check)
            await anyio.sleep(1)
            memory.connection.drop()
            await anyio.sleep(2)
            assert isinstance(tunnel.status, Connected)  # by now, another
            prober.public_verdict = FAIL
        assert [check.name for check in results[0].checks] == ["process"]
        await tunnel.stop()
        assert (await tunnel.health_check()).checks[
            0
        ].detail == "the tunnel is not connected (stopped)"


@virtual
async def test_f17_nobody_probes_what_is_not_connected() -> None:
    prober, memory = FakeProber(), Memory(delay=15)
    async with in_memory(memory, prober=prober, health_check_interval=10) as tunnel:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tunnel.start)
            await anyio.sleep(14)
            assert (await tunnel.health_check()).verdict == "unhealthy"
            assert prober.asked == 0
        await anyio.sleep(5)
        memory.connection.drop()
        await anyio.sleep(15)
        assert "Reconnecting" in tunnel.states
        assert prober.asked == 0
        await anyio.sleep(12)
        assert prober.asked == 1


def test_f19_health_on_the_command_line_is_fresh_and_its_exit_code_tells(prx: Prx) -> None:
    process = prx.connected()
    assert prx("tunnel", "health").returncode == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert prx("tunnel", "health").returncode == 3
    prx.configure(lab="steps = ['hang']")
    prx.start("--name", "hanging")
    while (done := prx("tunnel", "health", "--name", "hanging")).returncode == 3:
        pass
    assert done.returncode == 4
    assert "connecting" in done.stdout


async def test_f21_alive_but_without_an_edge_connection_is_a_drop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prx_tunnel_cloudflare import connection

    monkeypatch.setattr(connection, "RECOVERY", 0.1)
    monkeypatch.setattr(connection, "LOOK_EVERY", 0.02)
    cloudflared = Cloudflared(tmp_path)
    async with starting(cloudflared.tunnel(reconnect=FOR_EVER)) as statuses:
        up = await reached(statuses, Connected)
        order = of_plugin("cloudflare", "cloudflare_kit.installed").order
        await order(up.info.details["metrics"], "drop")
        lost = await reached(statuses, Reconnecting)
        assert "has not reconnected by itself" in lost.reason
        await reached(statuses, Connected)


async def test_an_end_that_the_event_loop_missed_is_seen_by_the_next_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when a fork of the host unwinds the loop that it was forked in: both share its ears."""
    hears = ExitWatch.wait
    deaf: list[ExitWatch] = []

    async def deaf_once(watch: ExitWatch) -> None:
        deaf.append(watch)
        await (anyio.sleep_forever() if watch is deaf[0] else hears(watch))

    monkeypatch.setattr(ExitWatch, "wait", deaf_once)
    monkeypatch.setattr(_process, "REAP", 0.05)
    programs = Programs()
    async with programs.tunnel(every=0.05, health_check_failures=2) as tunnel:
        await tunnel.start()
        first = programs.latest
        os.kill(first.pid, signal.SIGKILL)
        with anyio.fail_after(WITHIN):
            while programs.latest is first or not isinstance(tunnel.status, Connected):
                await anyio.sleep(0.01)
        assert first.returncode == -signal.SIGKILL
        assert (await tunnel.health_check()).check("process") == Check(
            "process", "ok", "the connection is open"
        )
