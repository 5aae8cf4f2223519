"""E: clocks that jump, a machine that sleeps, many that wake at once."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

import anyio
import pytest
import trio
import trio.testing

from prx_tunnel_core import Check, ConfigError, Connected, ConnectError, Reconnecting, Tunnel
from prx_tunnel_core._supervisor import connection, suspend
from prx_tunnel_core._supervisor.backoff import Backoff
from prx_tunnel_core.config import ReconnectConfig
from support.memory import FakeProber, Memory
from support.proc import heard, host
from support.virtual import in_memory, virtual


class Jumping:
    """A wall clock that jumps by a year, forth and back, whenever it is looked at."""

    looks = 0

    @classmethod
    def now(cls, zone: tzinfo = UTC) -> datetime:
        cls.looks += 1
        return datetime.now(zone) + timedelta(days=365 * (-1) ** cls.looks)


def test_e01_the_wall_clock_is_for_display_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: Jumping.now().timestamp())

    @virtual
    async def run() -> None:
        memory, prober = Memory(errors=[ConnectError("no")] * 3), FakeProber()
        async with in_memory(memory, prober=prober, health_check_interval=10) as tunnel:
            await tunnel.start()
            assert memory.times == [0, 1, 3, 7]
            await anyio.sleep(35)
            assert prober.asked == 3
            memory.connection.drop()
            await trio.testing.wait_all_tasks_blocked()
            assert tunnel.status == Reconnecting(1, "dropped", 1.0)  # it was up for 35 s
            assert tunnel.recent_drops == 1

    run()
    assert Jumping.looks > 0


@pytest.fixture
def suspended(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    slept = 0.0

    def add(seconds: float) -> None:
        nonlocal slept
        slept += seconds

    monkeypatch.setattr(suspend, "asleep", lambda: slept)
    return add


@virtual
async def test_e02_all_who_sleep_are_woken_by_whoever_looks(
    suspended: Callable[[float], None],
) -> None:
    woken: dict[float, tuple[bool, float]] = {}

    async def sleep(seconds: float) -> None:
        woken[seconds] = await suspend.sleep(seconds), anyio.current_time() - begun

    begun = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for seconds in (7, 60, 61):  # the first of them looks at the clocks, and is gone at 7
            tasks.start_soon(sleep, seconds)
        await anyio.sleep(8)
        suspended(100)
        await anyio.sleep(0.5)
        tasks.start_soon(sleep, 30)  # after it
    assert woken[7] == (False, 7)
    assert woken[30] == (False, 38.5)
    assert woken[60] == woken[61] == (True, 10), "at the next look"


@virtual
async def test_e02_one_of_a_thousand_sleepers_looks_at_the_clocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0

    def asleep() -> float:
        nonlocal looks
        looks += 1
        return 0.0

    monkeypatch.setattr(suspend, "asleep", asleep)
    async with anyio.create_task_group() as tasks:
        for number in range(1000):
            tasks.start_soon(suspend.sleep, 60 + number / 1000)
    assert looks == 2 * 1000 + 13  # each at its begin and its end, and one all 5 seconds


@virtual
async def test_e02_after_a_suspend_health_is_looked_at_with_one_failure_free(
    suspended: Callable[[float], None],
) -> None:
    prober = FakeProber()
    async with in_memory(Memory(), prober=prober, health_check_interval=60) as tunnel:
        await tunnel.start()
        await anyio.sleep(1)
        prober.public_verdict = Check("public", "fail", "no route")
        suspended(3600)
        await anyio.sleep(5)
        assert prober.asked == 1
        await anyio.sleep(150)  # two more have failed; without the suspend, that would be three
        assert prober.asked == 3
        assert isinstance(tunnel.status, Connected)
        await anyio.sleep(60)
        assert prober.asked == 4
        assert "Reconnecting" in tunnel.states


@virtual
async def test_e02_after_a_suspend_the_next_attempt_is_due(
    suspended: Callable[[float], None],
) -> None:
    memory = Memory(errors=[ConnectError("limited", retry_after=600)])
    async with in_memory(memory) as tunnel, anyio.create_task_group() as tasks:
        tasks.start_soon(tunnel.start)
        await anyio.sleep(11)
        suspended(1)  # the clocks differ a little
        await anyio.sleep(10)
        assert memory.attempts == 1
        suspended(3600)
        await anyio.sleep(5)
        assert memory.attempts == 2


def test_e02_the_clocks_of_this_machine() -> None:
    assert suspend.asleep() == pytest.approx(suspend.asleep(), abs=0.1)
    assert suspend.asleep() > -0.1


FREQUENT = """
from prx_tunnel_core import Check
from support.faults import Programs
from support.memory import FakeProber

class Timed(FakeProber):
    times = []
    async def public(self, url, *, connected_for):
        self.times.append(time.monotonic())
        return await super().public(url, connected_for=connected_for)

async def main():
    prober = Timed()
    async with Programs().tunnel(prober=prober, every=0.05) as tunnel:
        await tunnel.start()
        while len(prober.times) < 3:
            await anyio.sleep(0.001)
        say("up")
        seen = len(prober.times)
        while len(prober.times) < seen + 5:
            await anyio.sleep(0.001)
        gaps = [b - a for a, b in zip(prober.times, prober.times[1:])]
        say(min(gaps), max(gaps), type(tunnel.status).__name__)

anyio.run(main)
"""


def test_e03_a_host_that_was_stopped_makes_up_for_nothing() -> None:
    with host(FREQUENT) as process:
        assert heard(process) == ["up"]
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)  # that is the fault
        process.send_signal(signal.SIGCONT)
        shortest, longest, state = heard(process)
        assert process.wait() == 0
    assert float(longest) > 0.5
    assert float(shortest) > 0.045, "all that was due at once is one check"
    assert state == "Connected"


@virtual
async def test_e03_one_check_however_much_time_has_passed() -> None:
    prober = FakeProber()
    prober.public_verdict = Check("public", "fail")
    async with in_memory(Memory(), prober=prober, health_check_interval=10) as tunnel:
        await tunnel.start()
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(1000)
        await trio.testing.wait_all_tasks_blocked()
        assert prober.asked == 1
        assert isinstance(tunnel.status, Connected)


YEARS = """
import anyio, time
from support.faults import Programs

async def main():
    assert time.monotonic() > 10**9
    async with Programs().tunnel() as tunnel:
        print((await tunnel.start()).public_url, (await tunnel.health_check()).verdict)

anyio.run(main)
"""


def test_e12_a_machine_that_is_up_for_decades() -> None:
    unshare = shutil.which("unshare")
    command = [
        unshare or "unshare",
        "-UrT",
        "--monotonic",
        "1000000000",
        "--boottime",
        "1000000000",
    ]
    if unshare is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("needs Linux with time namespaces for every user")
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [*command, sys.executable, "-c", YEARS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "https://agent.example.com healthy\n", done.stderr


@virtual
async def test_e12_a_tunnel_that_is_up_for_months() -> None:
    memory, prober = Memory(), FakeProber()
    async with in_memory(memory, prober=prober, health_check_interval=86_400) as tunnel:
        await tunnel.start()
        trio.lowlevel.current_clock().jump(9_000_000.0)  # type: ignore[attr-defined]
        memory.connection.drop()
        await anyio.sleep(2)
        assert memory.attempts == 2
        assert isinstance(tunnel.status, Connected)


@pytest.mark.parametrize("seconds", [0, 0.001, -1, 86_401, 10**9, math.nan, math.inf, True, "30"])
def test_e13_an_interval_is_of_a_second_to_a_day(seconds: object) -> None:
    with pytest.raises(ConfigError, match=r"tunnel\.health_check_interval"):
        Tunnel({"health_check_interval": seconds})


def test_e14_a_thousand_do_not_come_back_at_once() -> None:
    """After an outage of the provider; with the delay alone, all thousand would."""
    for attempts in (1, 4):
        moments: Counter[int] = Counter()
        for _ in range(1000):
            ladder = Backoff(ReconnectConfig())
            total = 0.0
            for _ in range(attempts):
                assert ladder.next()
                total += ladder.delay
            moments[int(total * 10)] += 1
        assert moments.most_common(1)[0][1] < 300
