"""A tunnel that is up: cloudflared's own recovery is waited for, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import anyio
import pytest
import trio
import trio.testing
from cloudflare_kit.installed import StandIn, order
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.connect import connect
from prx_tunnel_cloudflare.connection import LOOK_EVERY, RECOVERY, CloudflareConnection
from prx_tunnel_cloudflare.connector import Connector
from prx_tunnel_cloudflare.metrics import Metrics, NoAnswer, Registrations

from prx_tunnel_core.backend import Target
from prx_tunnel_core.models import Check
from prx_tunnel_core.process import TunnelProcess

Configure = Callable[..., CloudflareConfig]
TARGET = Target("127.0.0.1", 3000)


class FakeProcess:
    def __init__(self) -> None:
        self.end = anyio.Event()

    async def wait(self) -> int:
        await self.end.wait()
        return 1

    def exit_reason(self) -> str:
        return "cloudflared exited with code 1"


class FakeMetrics:
    """`plan` says how many edge connections there are from which second on; -1: no answer."""

    def __init__(self, plan: dict[float, int]) -> None:
        self.plan = plan

    async def edge_connections(self) -> int:
        now = [count for at, count in self.plan.items() if at <= trio.current_time()][-1]
        if now < 0:
            raise NoAnswer("nobody")
        return now

    async def registrations(self) -> Registrations:
        return Registrations(1, 2)


def connection(process: FakeProcess, metrics: FakeMetrics) -> CloudflareConnection:
    connector = Connector()
    connector.process = cast("TunnelProcess", process)
    return CloudflareConnection(
        "https://a-b.trycloudflare.com",
        details={},
        connector=connector,
        metrics=cast("Metrics", metrics),
        target=TARGET,
        hostname=None,
    )


def run(plan: dict[float, int], script: Callable[[CloudflareConnection, FakeProcess], Any]) -> Any:
    """The script, in a time that jumps to the next thing that happens."""

    async def main() -> Any:
        process = FakeProcess()
        return await script(connection(process, FakeMetrics(plan)), process)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("gone", [0, -1], ids=["no edge connection", "no answer"])
def test_it_drops_when_the_longest_back_off_is_over(gone: int) -> None:
    async def script(tunnel: CloudflareConnection, process: FakeProcess) -> tuple[str, float]:
        return await tunnel.wait_closed(), trio.current_time()

    reason, at = run({0: 4, 100: gone}, script)
    assert "has not reconnected by itself within 64 s" in reason
    assert 100 + RECOVERY <= at <= 100 + RECOVERY + 2 * LOOK_EVERY


def test_it_may_recover_again_and_again() -> None:
    async def script(tunnel: CloudflareConnection, process: FakeProcess) -> bool:
        with trio.move_on_after(600) as waiting:
            await tunnel.wait_closed()
        return waiting.cancelled_caught

    assert run({0: 4, 100: 0, 160: 1, 170: 0, 230: 4}, script)


def test_it_drops_with_the_process() -> None:
    async def script(tunnel: CloudflareConnection, process: FakeProcess) -> tuple[str, float]:
        async with trio.open_nursery() as nursery:

            async def end() -> None:
                await trio.sleep(7)
                process.end.set()

            nursery.start_soon(end)
            return await tunnel.wait_closed(), trio.current_time()
        raise AssertionError

    assert run({0: 4}, script) == ("cloudflared exited with code 1", 7)


def test_what_it_says_meanwhile() -> None:
    async def script(tunnel: CloudflareConnection, process: FakeProcess) -> list[Check]:
        checks: list[Check] = []
        for second in (0, 10, 10 + RECOVERY - 1, 10 + RECOVERY, 100):
            await trio.sleep_until(second)
            checks += await tunnel.check()
        return checks

    checks = run({0: 4, 10: 0, 100: 1}, script)
    assert [check.verdict for check in checks] == ["ok", "unknown", "unknown", "fail", "ok"]
    assert checks[0].detail == "4 edge connections, 2 registrations refused"
    assert "reconnects by itself" in checks[1].detail
    assert checks[3].detail == "no edge connection for 64 s, 2 registrations refused"


@pytest.mark.anyio
async def test_a_reconnect_keeps_name_and_connection(
    stand_in: StandIn, configure: Configure
) -> None:
    async with connect(configure(), TARGET) as tunnel:
        metrics = tunnel.details["metrics"]
        (before,) = await tunnel.check()
        await order(metrics, "drop")
        (during,) = await tunnel.check()
        await order(metrics, "connect")
        (after,) = await tunnel.check()
    assert [before.verdict, during.verdict, after.verdict] == ["ok", "unknown", "ok"]
    assert len(stand_in.runs) == 1


@pytest.mark.anyio
async def test_the_reason_is_told(stand_in: StandIn, configure: Configure, token: str) -> None:
    """c11: a connected tunnel is deleted."""
    stand_in.plan({"play": ["c11-unauthorized-after-drop", 0], "stops": True})
    config = configure(token=token, hostname="app.example.com")
    async with connect(config, Target("127.0.0.1", 9999)) as tunnel:
        for _ in range(2):  # two things were done at the recorded edge: a refusal and a drop
            await order(tunnel.details["metrics"], "next")
        (check,) = await tunnel.check()
    assert check.verdict == "unknown"
    assert "11 registrations refused" in check.detail
    assert "refuses to register" in check.detail


@pytest.mark.anyio
@pytest.mark.parametrize("code", [0, 1, 11])
async def test_every_exit_is_a_drop(stand_in: StandIn, configure: Configure, code: int) -> None:
    async with connect(configure(), TARGET) as tunnel:
        await order(tunnel.details["metrics"], "exit", str(code))
        with anyio.fail_after(30):
            reason = await tunnel.wait_closed()
        assert f"exited with code {code}" in reason
        (check,) = await tunnel.check()
        assert "metrics server does not answer" in check.detail
