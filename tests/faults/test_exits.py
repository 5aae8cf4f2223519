"""B: however a program ends or freezes, its URL is withdrawn and another try follows."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import anyio
import pytest

from prx_tunnel_core import Check, Connected, ConnectError, Failed, Reconnecting, Tunnel
from support.faults import FAST, UP, URL, Programs, both_loops, of_plugin, starting
from support.memory import FakeProber
from support.proc import Gate, alive, gone, pid_of, program, state, until
from support.tunnel_scenarios import reached

pytestmark = pytest.mark.anyio


@both_loops
async def test_b01_an_end_before_the_url_says_why() -> None:
    programs = Programs(program("eprint:starting", "eprint:bad token", "exit:1"), program(*UP))
    async with starting(programs.tunnel()) as statuses:
        lost = await reached(statuses, Reconnecting)
        assert lost.reason.endswith("exited with code 1: starting | bad token")
        await reached(statuses, Connected)  # nobody said that it cannot pass


@both_loops
async def test_b02_exit_code_zero_before_the_url_is_no_success() -> None:
    programs = Programs(program("exit:0"))
    async with programs.tunnel() as tunnel:
        with pytest.raises(ConnectError, match=r"gave up after 2 attempts: .* exited with code 0"):
            await tunnel.start()
    assert programs.tried == 3


@both_loops
async def test_b03_exit_code_zero_after_the_url_is_a_drop(gate: Gate) -> None:
    programs = Programs(program(UP[0], f"gate:{gate.path}", "exit:0"), program(*UP))
    tunnel = programs.tunnel()
    async with starting(tunnel) as statuses:
        await reached(statuses, Connected)
        gate.open()
        lost = await reached(statuses, Reconnecting)
        assert (lost.attempt, tunnel.info) == (1, None)
        assert "exited with code 0" in lost.reason
        await reached(statuses, Connected)


@both_loops
@pytest.mark.parametrize("name", ["SEGV", "KILL", "ABRT"])
async def test_b04_a_signal_is_named(gate: Gate, name: str) -> None:
    programs = Programs(program(UP[0], f"gate:{gate.path}", f"kill:{name}"), program(*UP))
    async with starting(programs.tunnel()) as statuses:
        await reached(statuses, Connected)
        gate.open()
        assert f"was ended by SIG{name}" in (await reached(statuses, Reconnecting)).reason
        await reached(statuses, Connected)


@both_loops
async def test_b08_a_stopped_program_is_noticed_and_leaves_in_order(tmp_path: Path) -> None:
    left = tmp_path / "left"
    prober = FakeProber()
    frozen = program(f"on:TERM,touch:{left}+exit:0", UP[0], "stop", "hang")
    programs = Programs(frozen, program(*UP))
    tunnel = programs.tunnel(prober=prober, every=0.01, grace=30)
    async with starting(tunnel) as statuses:
        await reached(statuses, Connected)
        await until(lambda: state(programs.latest.pid) == "T")
        prober.public_verdict = Check("public", "fail", "no answer")
        lost = await reached(statuses, Reconnecting)
        assert lost.reason == "3 health checks in a row failed: public: no answer"
        prober.public_verdict = Check("public", "ok")
        await reached(statuses, Connected)
    assert left.exists()


@both_loops
@pytest.mark.parametrize("how", ["child", "escape"])
async def test_b13_grandchild_holds_stdout(gate: Gate, how: str) -> None:
    holding = program(
        f"{how}:ignore:TERM;pid:grandchild;hang", UP[0], f"gate:{gate.path}", "exit:3"
    )
    programs = Programs(holding, program(*UP))
    async with starting(programs.tunnel()) as statuses:
        await reached(statuses, Connected)
        first = programs.latest
        grandchild = await pid_of(first, "grandchild")
        gate.open()
        await until(lambda: not alive(first.pid))
        begun = time.monotonic()
        assert "exited with code 3" in (await reached(statuses, Reconnecting)).reason
        assert time.monotonic() - begun < 0.5  # 0.02 of it wait for the pipe
        gone([grandchild], within=1)


@both_loops
async def test_b16_what_daemonises_has_ended_and_leaves_nothing(gate: Gate) -> None:
    daemon = "daemonize:pid:daemon;closeout;ignore:TERM;hang"
    programs = Programs(program(daemon, UP[0], f"gate:{gate.path}", "exit:0"), program(*UP))
    async with starting(programs.tunnel()) as statuses:
        await reached(statuses, Connected)
        left = await pid_of(programs.latest, "daemon")
        gate.open()
        assert "exited with code 0" in (await reached(statuses, Reconnecting)).reason
        await reached(statuses, Connected)
        assert not alive(left)


@both_loops
async def test_b18_a_url_and_the_end_at_once_make_no_storm() -> None:
    programs = Programs(program(UP[0], "exit:1"))
    reconnect = FAST.model_copy(update={"max_attempts": 4})
    async with starting(programs.tunnel(reconnect=reconnect)) as statuses:
        failed = await reached(statuses, Failed)
    assert failed.message.startswith("gave up after 4 attempts")
    assert programs.tried == 5


@both_loops
async def test_b21_a_busy_program_disturbs_nobody() -> None:
    programs = Programs(program(UP[0], "burn"))
    async with programs.tunnel(grace=30) as tunnel:
        await tunnel.start()
        assert (await tunnel.health_check()).verdict == "healthy"
    assert programs.latest.returncode == -signal.SIGTERM


async def test_b22_a_program_that_becomes_its_update_stays_connected(gate: Gate) -> None:
    text = f"echo {URL}; head -c1 {gate.path}; exec sleep 1000"
    programs = Programs(["/bin/sh", "-c", text])
    async with programs.tunnel() as tunnel:
        await tunnel.start()
        gate.open()
        name = f"/proc/{programs.latest.pid}/comm"
        await until(lambda: Path(name).read_text() == "sleep\n")
        await anyio.sleep(0.02)
        assert isinstance(tunnel.status, Connected)


async def test_b22_cloudflared_is_told_not_to_update_itself(tmp_path: Path) -> None:
    stand_in = of_plugin("cloudflare", "cloudflare_kit.installed").StandIn(tmp_path / "bin")
    table = {"cloudflare": {"program": str(stand_in.program)}, "health_check_url": False}
    async with Tunnel({"backend": "cloudflare", "local_port": 9999, **table}) as tunnel:
        await tunnel.start()
    assert stand_in.runs[0].env["NO_AUTOUPDATE"] == "true"
