"""Hooks that tell what happens to a tunnel: whatever they do, nobody else notices."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio
import trio.testing

from prx_tunnel_core import hookimpl
from prx_tunnel_core._plugins import FoundPlugin, PluginRegistry
from prx_tunnel_core._supervisor.observers import notify
from prx_tunnel_core.models import Connecting, Idle, TunnelHealth, TunnelStatus

HEALTH = TunnelHealth("healthy")
STATUS_CHANGED = "prx_tunnel_status_changed"
ARGUMENTS = {"tunnel": "web", "old": Idle(), "new": Connecting()}


class Recorder:
    """Each kind of plugin writes here what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []


def watching(*plugins: object) -> PluginRegistry:
    """As if each were installed in the group of those that only watch."""
    found = [
        FoundPlugin(
            f"w{n}", functools.partial(_itself, plugin), "prx_tunnel.observers", f"dist-{n}", "1.0"
        )
        for n, plugin in enumerate(plugins)
    ]
    loaded = PluginRegistry(environ={}, entry_points=lambda: found)
    loaded.load_watchers()
    assert loaded.problems == []
    return loaded


def _itself(plugin: object) -> object:
    return plugin


async def tell(plugins: PluginRegistry, **options: float) -> None:
    await notify(plugins.loaded(), STATUS_CHANGED, ARGUMENTS, **options)


class Plain(Recorder):
    @hookimpl
    def prx_tunnel_status_changed(self, tunnel: str, old: TunnelStatus, new: TunnelStatus) -> None:
        self.told.append((tunnel, old, new, threading.current_thread()))

    @hookimpl
    def prx_tunnel_health_checked(self, tunnel: str, health: TunnelHealth) -> None:
        self.told.append((tunnel, health, threading.current_thread()))


class Async(Recorder):
    @hookimpl
    async def prx_tunnel_status_changed(
        self, tunnel: str, old: TunnelStatus, new: TunnelStatus
    ) -> None:
        await anyio.lowlevel.checkpoint()
        self.told.append((tunnel, old, new, threading.current_thread()))

    @hookimpl
    async def prx_tunnel_health_checked(self, tunnel: str, health: TunnelHealth) -> None:
        await anyio.lowlevel.checkpoint()
        self.told.append((tunnel, health, threading.current_thread()))


@pytest.mark.anyio
async def test_plain_functions_run_in_a_thread_and_async_ones_on_the_loop() -> None:
    plain, on_loop = Plain(), Async()
    plugins = watching(plain, on_loop)
    await tell(plugins)
    checked = {"tunnel": "web", "health": HEALTH}
    await notify(plugins.loaded(), "prx_tunnel_health_checked", checked)
    here = threading.current_thread()
    assert on_loop.told == [("web", Idle(), Connecting(), here), ("web", HEALTH, here)]
    assert [told[:-1] for told in plain.told] == [
        ("web", Idle(), Connecting()),
        ("web", HEALTH),
    ]
    assert here not in {told[-1] for told in plain.told}


class OnlyNew(Recorder):
    @hookimpl
    def prx_tunnel_status_changed(self, new: TunnelStatus) -> None:
        self.told.append((new,))


def quietly(call: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(call)
    def wrapper(*args: Any, **options: Any) -> Awaitable[None]:
        return call(*args, **options)

    return wrapper


class Decorated(Recorder):
    """A plain function for everybody who looks, and a coroutine comes out."""

    @hookimpl
    @quietly
    async def prx_tunnel_status_changed(self, tunnel: str, new: TunnelStatus) -> None:
        await anyio.lowlevel.checkpoint()
        self.told.append((tunnel, new))


@pytest.mark.anyio
async def test_a_hook_may_ask_for_some_arguments_and_return_an_awaitable() -> None:
    some, decorated = OnlyNew(), Decorated()
    await tell(watching(some, decorated))
    assert some.told == [(Connecting(),)]
    assert decorated.told == [("web", Connecting())]


class Raises:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @hookimpl
    def prx_tunnel_status_changed(self) -> None:
        raise self.error


class RaisesLater:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @hookimpl
    async def prx_tunnel_status_changed(self) -> None:
        await anyio.lowlevel.checkpoint()
        raise self.error


@pytest.mark.anyio
@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(9), RuntimeError("a\nb")])
@pytest.mark.parametrize("kind", [Raises, RaisesLater])
async def test_l02_l03_one_that_raises_harms_nobody(
    kind: Callable[[BaseException], object], error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    before, after = Plain(), Async()
    await tell(watching(before, kind(error), after))
    assert len(before.told) == len(after.told) == 1
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "dist-1 1.0: prx_tunnel_status_changed: " in record.getMessage()
    assert type(error).__name__ in record.getMessage()
    assert "\n" not in record.getMessage()


class Blocks(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.threads: list[threading.Thread] = []

    @hookimpl
    def prx_tunnel_status_changed(self, new: TunnelStatus) -> None:
        self.threads.append(threading.current_thread())
        self.gate.wait(60)
        self.told.append((new,))


@pytest.mark.anyio
async def test_l04_one_that_blocks_is_given_up_and_not_called_again_before_it_returns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    blocking, after = Blocks(), Plain()
    plugins = watching(blocking, after)
    await tell(plugins, deadline=0.05)
    assert "dist-0 1.0: prx_tunnel_status_changed: did not return within 0.05 s" in caplog.text
    for _ in range(10):
        await tell(plugins, deadline=30)
    assert caplog.text.count("skipped: an earlier call has still not returned") == 10
    assert len(after.told) == 11
    assert len(blocking.threads) == 1
    blocking.gate.set()
    await anyio.to_thread.run_sync(blocking.threads[0].join, 60)
    await tell(plugins, deadline=30)
    assert len(blocking.told) == 2


@pytest.mark.anyio
async def test_the_event_loop_runs_on_while_one_blocks() -> None:
    blocking = Blocks()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tell, watching(blocking))
        while not blocking.threads:
            await anyio.sleep(0.001)
        blocking.gate.set()  # set by the loop that a blocking call would have stopped


class Sleeps:
    @hookimpl
    async def prx_tunnel_status_changed(self) -> None:
        await anyio.sleep_forever()


def test_each_has_a_deadline_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    last = Async()

    async def main() -> None:
        began = trio.current_time()
        await tell(watching(Sleeps(), Sleeps(), last))
        assert trio.current_time() - began == pytest.approx(10)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert len(last.told) == 1
    assert caplog.text.count("did not return within 5 s") == 2


def test_with_nobody_to_tell_nothing_happens_at_all() -> None:
    """No thread, no checkpoint: a coroutine that never yields ends at its first step."""
    plugins = watching(OnlyHealth())
    coroutine = notify(plugins.loaded(), STATUS_CHANGED, ARGUMENTS)
    threads = threading.active_count()
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert threading.active_count() == threads


class OnlyHealth(Recorder):
    @hookimpl
    def prx_tunnel_health_checked(self, health: TunnelHealth) -> None:
        self.told.append((health,))


@pytest.mark.anyio
async def test_being_cancelled_while_telling_is_not_swallowed() -> None:
    after = Async()
    with anyio.CancelScope() as scope:
        plugins = watching(CancelsTheCaller(scope), after)
        await tell(plugins)
    assert scope.cancelled_caught
    assert after.told == []


class CancelsTheCaller:
    def __init__(self, scope: anyio.CancelScope) -> None:
        self.scope = scope

    @hookimpl
    async def prx_tunnel_status_changed(self) -> None:
        self.scope.cancel()
        await anyio.sleep_forever()


class Wraps(Recorder):
    """With one hook manager for all, this would run around everybody else's hooks."""

    @hookimpl(wrapper=True)
    def prx_tunnel_status_changed(self, new: TunnelStatus) -> Iterator[None]:
        self.told.append(("before", new))
        raise RuntimeError("you shall not pass")
        yield


@pytest.mark.anyio
async def test_no_plugin_can_stand_before_another(caplog: pytest.LogCaptureFixture) -> None:
    plain, wraps = Plain(), Wraps()
    await tell(watching(wraps, plain))
    assert len(plain.told) == 1
    assert "dist-0 1.0" in caplog.text


@pytest.mark.anyio
async def test_a_traceback_is_only_shown_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    plugins = watching(Raises(ValueError("boom")))
    await tell(plugins)
    assert caplog.records[0].exc_info is None
    with caplog.at_level(logging.DEBUG):
        await tell(plugins)
    assert caplog.records[1].exc_info is not None
