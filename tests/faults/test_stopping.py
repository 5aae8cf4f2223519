"""C: stopping takes bounded time, whatever the program does, and leaves nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from prx_tunnel_core import Failed, Stopped, Tunnel
from prx_tunnel_core.process import _group, _process
from prx_tunnel_core.process._reaper import sweep
from support.faults import FOR_EVER, UP, Programs, both_loops, of_plugin, starting
from support.proc import Gate, alive, children, pid_of, program
from support.tunnel_scenarios import reached

pytestmark = pytest.mark.anyio


@both_loops
async def test_c01_one_that_ignores_term_is_killed_after_the_grace() -> None:
    programs = Programs(program("ignore:TERM", *UP))
    async with programs.tunnel(grace=0.2) as tunnel:
        await tunnel.start()
        begun = anyio.current_time()
        await tunnel.stop()
        assert 0.2 <= anyio.current_time() - begun < 0.2 + 0.5
        assert tunnel.status == Stopped()
    assert programs.latest.returncode == -signal.SIGKILL


@both_loops
async def test_c02_draining_has_the_grace_of_its_backend_and_a_second_stop_joins() -> None:
    programs = Programs(program("on:TERM,sleep:0.2+print:drained+exit:0", *UP))
    async with programs.tunnel(grace=30) as tunnel, anyio.create_task_group() as tasks:
        await tunnel.start()
        tasks.start_soon(tunnel.stop)
        await anyio.lowlevel.checkpoint()
        await tunnel.stop()
        assert not children()
    assert (programs.latest.returncode, programs.latest.tail[-1]) == (0, "drained")


@both_loops
async def test_c03_what_left_the_group_is_ended() -> None:
    programs = Programs(program("escape:ignore:TERM;pid:escaped;hang", *UP))
    async with programs.tunnel() as tunnel:
        await tunnel.start()
        escaped = await pid_of(programs.latest, "escaped")
        assert os.getpgid(escaped) == escaped != programs.latest.pid
        await tunnel.stop()
        assert not alive(escaped)


async def test_c09_no_signal_to_a_number_that_is_given_back(
    monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    sent: list[int] = []
    programs = Programs(program(UP[0], f"gate:{gate.path}", "exit:0"))
    async with programs.tunnel(reconnect={"enabled": False}) as tunnel:
        await tunnel.start()
        gate.open()
        await programs.latest.wait()

        def record(pid: int, *_: signal.Signals) -> bool:
            sent.append(pid)
            return False

        monkeypatch.setattr(_group, "signal_group", record)
        programs.latest.kill()
        await tunnel.stop()
    assert sent == []


@both_loops
async def test_c10_an_end_of_its_own_while_it_is_stopped(gate: Gate) -> None:
    programs = Programs(program(UP[0], f"gate:{gate.path}", "exit:0"))
    async with programs.tunnel() as tunnel:
        for _ in range(8):
            await tunnel.start()
            gate.open()
            await tunnel.stop()
            assert tunnel.status == Stopped()
            assert programs.latest.returncode in (0, -signal.SIGTERM)


async def test_c11_a_zombie_is_nobody(gate: Gate) -> None:
    steps = (f"child:gate:{gate.path}", "child:exit:0", UP[0], "ignore:TERM", "hang")
    programs = Programs(program(*steps))
    async with programs.tunnel(grace=0.05) as tunnel:
        await tunnel.start()
        assert _group.group_alive(programs.latest.pid)
        await tunnel.stop()
        assert not _group.group_alive(programs.latest.pid)
    assert not children(), "and what was ours is reaped"


@pytest.fixture
def unkillable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    """As in an uninterruptible call: no signal ends it."""
    programs = Programs(program("ignore:TERM", *UP))
    monkeypatch.setattr(_group, "signal_group", lambda _pid, *_: True)
    monkeypatch.setattr(sweep._Look, "at", lambda _look, _pid: False)
    for limit in ("REAP", "REAP_AT_ONCE"):
        monkeypatch.setattr(_process, limit, 0.05)
    yield programs
    monkeypatch.undo()
    for each in programs.started:
        os.killpg(each.pid, signal.SIGKILL)
        each._popen.wait()


@both_loops
async def test_c12_one_that_nothing_ends_is_said_to_be_stuck(unkillable: Programs) -> None:
    async with unkillable.tunnel(grace=0.05) as tunnel:
        await tunnel.start()
        with anyio.fail_after(5):
            await tunnel.stop()
        assert isinstance(tunnel.status, Failed)
        assert "does not end, even by KILL" in tunnel.status.message


@both_loops
async def test_c12_no_second_copy_is_started_beside_it(unkillable: Programs) -> None:
    unkillable.commands = (program("ignore:TERM", "hang"),)
    tunnel = unkillable.tunnel(grace=0.05, connect_timeout=0.1, reconnect=FOR_EVER)
    async with starting(tunnel) as statuses:
        stuck = await reached(statuses, Failed)
    assert "does not end, even by KILL" in stuck.message
    assert unkillable.tried == 1


@both_loops
async def test_c13_a_cancelled_stop_goes_on_and_the_next_one_joins() -> None:
    for steps in range(8):
        programs = Programs(program("child:ignore:TERM;hang", *UP))
        async with programs.tunnel(grace=0.02) as tunnel:
            await tunnel.start()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tunnel.stop)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            if steps:
                await tunnel.stop()
                assert tunnel.status == Stopped()
                assert sweep.running() == []


async def test_c18_only_our_own_route_is_removed(tmp_path: Path) -> None:
    standin = of_plugin("tailscale", "tailscale_standin", folder="tests/support")
    node = standin.StandIn(tmp_path)
    theirs = standin.web("/", port=8443, target="http://127.0.0.1:9000", funnel=False)
    node.serve(theirs)
    table = {"program": str(node.program), "background": True}
    config = {"backend": "tailscale", "local_port": 3000, "tailscale": table}
    async with Tunnel({**config, "health_check_url": False}) as tunnel:
        await tunnel.start()
        await tunnel.stop()
    assert node.served == theirs
    assert not any("reset" in call for call in node.calls)
    assert [call for call in node.changes() if call[-1] == "off"]
