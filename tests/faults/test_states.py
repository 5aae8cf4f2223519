"""G: the states of a tunnel, its attempts and their delays, in virtual time."""

from __future__ import annotations

import math
import random
from contextlib import suppress

import anyio
import pytest
import trio.testing

from prx_tunnel_core import (
    ConfigError,
    Connected,
    ConnectError,
    Connecting,
    Failed,
    Idle,
    Reconnecting,
    SetupError,
    Stopped,
    Tunnel,
    TunnelError,
    TunnelInfo,
)
from prx_tunnel_core._supervisor.backoff import Backoff
from prx_tunnel_core.config import ReconnectConfig
from support.memory import Memory
from support.virtual import in_memory, virtual

settle = trio.testing.wait_all_tasks_blocked


@virtual
async def test_g01_flapping_climbs_and_gives_up() -> None:
    memory = Memory()
    async with in_memory(memory, reconnect={"max_attempts": 5}) as tunnel:
        await tunnel.start()
        while memory.open:
            await anyio.sleep(2)
            memory.connection.drop("flap")
            await settle()
            if isinstance(tunnel.status, Reconnecting):
                await anyio.sleep(tunnel.status.retry_in)
                await settle()
        assert str(tunnel.status) == str(Failed("gave up after 5 attempts: flap"))
    gaps = [b - a - 2 for a, b in zip(memory.times, memory.times[1:], strict=False)]
    assert gaps == pytest.approx([1, 2, 4, 8, 16])


@virtual
async def test_g02_a_drop_after_31_stable_seconds_is_a_first_one() -> None:
    memory = Memory()
    async with in_memory(memory) as tunnel:
        await tunnel.start()
        for seconds, attempt in [(1, 1), (29, 2), (31, 1), (31, 1), (5, 2)]:
            await anyio.sleep(seconds)
            memory.connection.drop()
            await settle()
            assert isinstance(tunnel.status, Reconnecting)
            assert tunnel.status.attempt == attempt
            await anyio.sleep(tunnel.status.retry_in)
            await settle()


@virtual
async def test_g03_past_the_last_attempt_it_rests_until_it_is_started() -> None:
    memory = Memory(errors=[ConnectError("no route")] * 11)
    async with in_memory(memory) as tunnel:
        with pytest.raises(ConnectError, match="gave up after 10 attempts: no route"):
            await tunnel.start()
        tries = memory.attempts
        await anyio.sleep(80_000)
        assert (memory.attempts, memory.open) == (tries, [])
        assert tries == 11  # the first is no reconnect
        await tunnel.start()
        assert isinstance(tunnel.status, Connected)
        assert tunnel.status.attempt == 0


@virtual
@pytest.mark.parametrize(("most", "tried"), [(1, 2), (2, 3), (0, 500), (2**32 - 1, 500)])
async def test_g04_the_last_attempt_is_the_configured_one(most: int, tried: int) -> None:
    memory = Memory(errors=[ConnectError("no")] * 499)
    reconnect = {"max_attempts": most, "backoff_max_ms": 1000}
    async with in_memory(memory, reconnect=reconnect) as tunnel:
        try:
            await tunnel.start()
        except ConnectError:
            assert most in (1, 2)
        assert memory.attempts == tried


def test_g05_the_billionth_attempt_waits_no_longer_than_the_longest() -> None:
    ladder = Backoff(ReconnectConfig(max_attempts=0), uniform=lambda: 1.0, attempt=10**9)
    assert ladder.next()
    assert (ladder.attempt, ladder.delay) == (10**9 + 1, 60.0)


@pytest.mark.parametrize(
    "reconnect",
    [
        {"backoff_base_ms": 2000, "backoff_max_ms": 1000},
        {"backoff_base_ms": 0},
        {"backoff_max_ms": 0},
        {"backoff_base_ms": -1},
        {"backoff_base_ms": math.nan},
        {"backoff_max_ms": math.inf},
        {"backoff_base_ms": True},
        {"max_attempts": -1},
        {"max_attempts": 2**32},
        {"max_attempts": True},
    ],
    ids=str,
)
def test_g06_a_back_off_that_is_none(reconnect: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"tunnel\.reconnect"):
        Tunnel({"reconnect": reconnect})


@virtual
async def test_g07_without_reconnect_a_drop_ends_it() -> None:
    memory = Memory()
    async with in_memory(memory, reconnect={"enabled": False}) as tunnel:
        await tunnel.start()
        memory.connection.drop("the edge went away")
        await settle()
        assert tunnel.status == Failed("the edge went away")
        await anyio.sleep(1000)
        assert memory.attempts == 1


@virtual
@pytest.mark.parametrize(
    ("state", "seconds"), [(Connecting, 0.1), (Connected, 0.6), (Reconnecting, 1.0)]
)
async def test_g08_stop_ends_each_state_at_once(state: type, seconds: float) -> None:
    memory = Memory(delay=0.5, errors=[ConnectError("no")] if state is Reconnecting else [])
    async with in_memory(memory) as tunnel, anyio.create_task_group() as tasks:

        async def start() -> None:
            with suppress(TunnelError):
                await tunnel.start()

        tasks.start_soon(start)
        await anyio.sleep(seconds)
        assert isinstance(tunnel.status, state)
        begun = anyio.current_time()
        await tunnel.stop()
        assert anyio.current_time() == begun
        assert (str(tunnel.status), memory.open) == (str(Stopped()), [])
        attempts = memory.attempts
        await anyio.sleep(1000)
        assert memory.attempts == attempts


@virtual
async def test_g08_stop_where_nothing_runs() -> None:
    memory = Memory(errors=[SetupError("x")])
    async with in_memory(memory) as tunnel:
        await tunnel.stop()
        assert str(tunnel.status) == str(Idle())
        with pytest.raises(SetupError):
            await tunnel.start()
        for _ in range(2):
            await tunnel.stop()
            assert str(tunnel.status) == str(Stopped())


@virtual
@pytest.mark.parametrize("what", ["the URL", "the end", "the timer", "the time-out"])
async def test_g09_stop_wins_over_what_comes_in_the_same_moment(what: str) -> None:
    """Both in one instant, in either order."""
    for stop_first in (True, False):
        memory = Memory(delay=math.inf if what == "the time-out" else 1.0)
        memory.errors = [ConnectError("no")] if what == "the timer" else []
        tunnel = in_memory(memory, connect_timeout=2, reconnect={"enabled": what == "the timer"})
        async with tunnel, anyio.create_task_group() as tasks:

            async def stop(at: float, own: Tunnel = tunnel) -> None:
                await anyio.sleep(at)
                await own.stop()

            async def start(own: Tunnel = tunnel) -> None:
                with suppress(TunnelError):
                    await own.start()

            at = {"the URL": 1.0, "the end": 5.0, "the timer": 2.0, "the time-out": 2.0}[what]
            if stop_first:
                tasks.start_soon(stop, at)
            tasks.start_soon(start)
            if not stop_first:
                tasks.start_soon(stop, at)
            await anyio.sleep(at)
            for connection in memory.open:
                connection.drop()
            await settle()
            assert tunnel.states[-1] == "Stopped"
            assert (memory.open, memory.opening) == ([], 0)


@virtual
async def test_g10_a_hundred_starts_are_one_in_every_state() -> None:
    memory = Memory(delay=1)
    infos: list[TunnelInfo] = []
    async with in_memory(memory) as tunnel:

        async def start() -> None:
            infos.append(await tunnel.start())

        async def hundred() -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(start)

        await hundred()  # Idle, then Connecting
        await hundred()  # Connected
        assert (memory.attempts, len(set(map(id, infos)))) == (1, 1)
        memory.connection.drop()
        await settle()
        await hundred()  # Reconnecting
        assert (memory.attempts, len(set(map(id, infos)))) == (2, 2)
        await tunnel.stop()
        await hundred()  # Stopped
        assert (memory.attempts, memory.most_open, len(infos)) == (3, 1, 400)


@virtual
async def test_g13_a_start_that_is_given_up_stops_or_leaves_it_to_others() -> None:
    memory = Memory(delay=5)
    async with in_memory(memory) as tunnel, anyio.create_task_group() as tasks:
        with trio.move_on_after(1):
            await tunnel.start()
        assert (str(tunnel.status), memory.opening) == (str(Stopped()), 0)
        tasks.start_soon(tunnel.start)
        await settle()
        with trio.move_on_after(1):
            await tunnel.start()
        await anyio.sleep(4)
        await settle()
        assert tunnel.states[-1] == "Connected"
        memory.connection.drop()
        await settle()
        with trio.move_on_after(0.1):
            await tunnel.start()
        await anyio.sleep(10)
        assert tunnel.states[-1] == "Connected", "it was up before: others may use it"


@virtual
async def test_g18_each_status_is_whole_and_shows_a_url_only_while_connected() -> None:
    memory = Memory(delay=0.1, teardown=0.5)
    seen: list[tuple[bool, bool]] = []
    async with in_memory(memory, reconnect={"max_attempts": 0}) as tunnel:
        tunnel.on_change = lambda _old, new: seen.append(
            (isinstance(new, Connected), tunnel.info is not None)
        )
        for _ in range(20):
            await tunnel.start()
            with pytest.raises(AttributeError):
                tunnel.status.attempt = 7  # type: ignore[union-attr, misc]
            memory.connection.drop()
            await settle()
            await tunnel.stop()
    assert len(seen) >= 80
    assert all(connected == shown for connected, shown in seen)


def test_g19_hosts_that_seed_alike_do_not_come_back_alike() -> None:
    delays = []
    for _ in range(2):
        random.seed(1)
        ladder = Backoff(ReconnectConfig())
        delays.append([ladder.delay for _ in range(5) if ladder.next()])
    assert delays[0] != delays[1]
