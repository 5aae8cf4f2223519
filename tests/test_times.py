"""How long core waits, each time from both sides, in virtual time.

The seconds are written out: a constant of core that is compared with itself may have any value.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import pytest
import trio

from prx_tunnel_core import (
    Check,
    Connected,
    Connection,
    PluginRegistry,
    Reconnecting,
    Target,
    hookimpl,
)
from prx_tunnel_core._supervisor import suspend
from prx_tunnel_core.backend import Backend, Observer, TunnelView
from prx_tunnel_core.config import ConfigModel
from prx_tunnel_core.errors import ConnectError
from prx_tunnel_core.models import Stopped, TunnelStatus
from support.memory import FakeProber, Memory, MemoryConfig, MemoryConnection
from support.virtual import Recorded, in_memory, no_plugins, virtual


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize(("seconds", "is_late"), [(9.9, False), (10.1, True)])
def test_a_backend_has_ten_seconds_to_close_a_dropped_connection(
    seconds: float, is_late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    memory, closed = Memory(), list[float]()

    @asynccontextmanager
    async def connect(config: MemoryConfig, target: Target) -> AsyncIterator[Connection]:
        async with memory.connect(config, target) as connection:
            yield connection
            await anyio.sleep(seconds)
            closed.append(seconds)

    @virtual
    async def live() -> None:
        backend = Backend(name="memory", summary="", config=MemoryConfig, connect=connect)
        async with Recorded({"backend": "memory"}, backend=backend, plugins=no_plugins()) as tunnel:
            await tunnel.start()
            memory.connection.drop()
            await anyio.sleep(15)

    live()
    assert closed == ([] if is_late else [seconds])
    text = "backend 'memory' did not close within 10 s"
    assert (text in caplog.messages) is is_late


@virtual
async def test_a_program_has_ninety_seconds_to_come_back_by_itself() -> None:
    prober, memory = FakeProber(), Memory()
    async with in_memory(
        memory, prober=prober, health_check_interval=1, health_check_failures=1
    ) as tunnel:
        await tunnel.start()
        memory.connection.word = Check("edge", "unknown", "reconnecting")
        prober.public_verdict = Check("public", "fail", "HTTP 530")
        await anyio.sleep(1.5)  # since the check at 1 s, it is known to recover
        await anyio.sleep(89)
        assert isinstance(tunnel.status, Connected)
        await anyio.sleep(1)
        assert memory.attempts == 1
        assert isinstance(tunnel.status, Reconnecting)


@pytest.mark.parametrize(("seconds", "verdict"), [(9.9, "ok"), (10.1, "unknown")])
def test_a_backends_own_check_has_ten_seconds(seconds: float, verdict: str) -> None:
    class Slow(MemoryConnection):
        async def check(self) -> Iterable[Check]:
            await anyio.sleep(seconds)
            return [Check("edge", "ok")]

    @asynccontextmanager
    async def connect(config: MemoryConfig, target: Target) -> AsyncIterator[Connection]:
        yield Slow(config.url)

    @virtual
    async def live() -> None:
        backend = Backend(name="memory", summary="", config=MemoryConfig, connect=connect)
        config = {"backend": "memory"}
        options: dict[str, Any] = {"plugins": no_plugins(), "prober": FakeProber()}
        async with Recorded(config, backend=backend, **options) as tunnel:
            await tunnel.start()
            health = await tunnel.health_check()
        check = health.check("provider")
        assert check is not None
        assert check.verdict == verdict

    live()


@virtual
async def test_a_way_back_online_is_looked_for_every_second() -> None:
    memory, looks = Memory(errors=[ConnectError("no route")]), list[float]()

    def online() -> bool:
        looks.append(trio.current_time())
        return looks[-1] > looks[0] + 4.5

    begun = trio.current_time()
    async with in_memory(memory, online=online, reconnect={"backoff_max_ms": 60_000}) as tunnel:
        await tunnel.start()
    steps = [later - earlier for earlier, later in pairwise(looks)]
    assert [step for step in steps if step] == pytest.approx([1.0] * 5)
    assert trio.current_time() - begun == pytest.approx(5.0)


def test_seconds_of_suspension_do_not_grow_while_the_machine_is_awake() -> None:
    before = suspend.asleep()
    time.sleep(0.1)
    assert before > -0.05  # two clocks are read, one after the other
    assert suspend.asleep() - before < 0.05


class Suspended:
    """A machine that is suspended at a time of the loop's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, at: float, seconds: float) -> None:
        self._at, self._seconds = at, seconds
        monkeypatch.setattr(suspend, "asleep", self.asleep)

    def asleep(self) -> float:
        return self._seconds if trio.current_time() >= self._at else 0.0


@pytest.mark.parametrize(
    ("at", "seconds", "wakes_at"),
    [
        (1.0, 5.1, 5.0),  # the clocks are looked at every five seconds
        (5.1, 5.1, 10.0),
        (1.0, 4.9, 60.0),  # the clocks differ a little by themselves
    ],
)
def test_a_suspend_of_more_than_five_seconds_is_seen_within_five(
    at: float, seconds: float, wakes_at: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    @virtual
    async def live() -> None:
        begun = trio.current_time()
        Suspended(monkeypatch, at=begun + at, seconds=seconds)
        woken = await suspend.sleep(60)
        assert trio.current_time() - begun == pytest.approx(wakes_at)
        assert woken is (seconds > 5)

    live()


def with_an_observer(
    run: Callable[..., Any], changed: Callable[[TunnelStatus], Awaitable[None]]
) -> Recorded:
    class Plugins(PluginRegistry):
        def observers(self, tables: Mapping[str, Any]) -> list[Observer[Any]]:
            return [Observer(name="witness", config=ConfigModel, run=run)]

    class Hooks:
        @hookimpl
        async def prx_tunnel_status_changed(self, new: TunnelStatus) -> None:
            await changed(new)

    plugins = Plugins(entry_points=list)
    plugins.register(Hooks())
    config = {"backend": "memory"}
    options: dict[str, Any] = {"plugins": plugins, "prober": FakeProber()}
    return Recorded(config, backend=Memory().backend(), tables={"witness": {}}, **options)


@pytest.mark.parametrize(("seconds", "taken"), [(0.9, 0.9), (50.0, 1.0)])
def test_the_end_waits_one_second_for_hooks(seconds: float, taken: float) -> None:
    @asynccontextmanager
    async def run(settings: ConfigModel, tunnel: TunnelView) -> AsyncIterator[Callable[..., Any]]:
        yield dict

    async def changed(new: TunnelStatus) -> None:
        if isinstance(new, Stopped):
            await anyio.sleep(seconds)

    @virtual
    async def live() -> None:
        async with with_an_observer(run, changed) as tunnel:
            await tunnel.start()
            begun = trio.current_time()
            await tunnel.stop()
        assert trio.current_time() - begun == pytest.approx(taken)

    live()


@virtual
async def test_the_end_waits_for_what_an_observer_has_to_take_back() -> None:
    ended = list[str]()

    @asynccontextmanager
    async def run(settings: ConfigModel, tunnel: TunnelView) -> AsyncIterator[Callable[..., Any]]:
        try:
            yield dict
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(4.9)
            ended.append(tunnel.name)

    async def changed(_: TunnelStatus) -> None: ...

    async with with_an_observer(run, changed) as tunnel:
        await tunnel.start()
        begun = trio.current_time()
    assert trio.current_time() - begun == pytest.approx(4.9)
    assert ended == ["default"]


def test_an_observer_that_fails_is_named_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    """In the log and in the status; its own end is not the tunnel's."""

    @asynccontextmanager
    async def run(settings: ConfigModel, tunnel: TunnelView) -> AsyncIterator[Callable[..., Any]]:
        await anyio.sleep(1)
        raise ZeroDivisionError("by \x1b[31mzero")
        yield dict

    async def changed(_: TunnelStatus) -> None: ...

    @virtual
    async def live() -> None:
        async with with_an_observer(run, changed) as tunnel:
            await tunnel.start()
            await anyio.sleep(2)
            assert isinstance(tunnel.status, Connected)
            assert tunnel.observer_states == {
                "witness": {"state": "failed", "reason": "ZeroDivisionError: by \x1b[31mzero"}
            }

    live()
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.getMessage() == "observer 'witness' failed: ZeroDivisionError: by zero"


@virtual
async def test_a_probe_of_ours_has_ten_seconds() -> None:
    granted = list[float]()

    class Noted(FakeProber):
        def __init__(self, *, timeout: float, **_: Any) -> None:
            super().__init__()
            granted.append(timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prx_tunnel_core._health.Prober", Noted)
        config = {"backend": "memory"}
        async with Recorded(config, backend=Memory().backend(), plugins=no_plugins()) as tunnel:
            await tunnel.start()
            await tunnel.health_check()
            await tunnel.health_check()
    assert granted == [10.0]


@virtual
async def test_hooks_hear_of_each_life_of_a_tunnel() -> None:
    heard = list[str]()

    @asynccontextmanager
    async def run(settings: ConfigModel, tunnel: TunnelView) -> AsyncIterator[Callable[..., Any]]:
        yield dict

    async def changed(new: TunnelStatus) -> None:
        heard.append(type(new).__name__)

    tunnel = with_an_observer(run, changed)
    for _ in range(2):
        async with tunnel:
            await tunnel.start()
        assert heard == ["Connecting", "Connected", "Stopped"]
        heard.clear()
