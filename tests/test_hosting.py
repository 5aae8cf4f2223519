"""The tunnel of a host: in its background, or attached to the one that runs already."""

from __future__ import annotations

import math
from typing import Any

import anyio
import anyio.abc
import pytest

from prx_tunnel_core import Connected, ConnectError, Failed, Idle, SetupError, Stopped, TunnelError
from prx_tunnel_core._control.async_client import ask
from prx_tunnel_core._control.name_lock import NameLock
from prx_tunnel_core._hosting import HostTunnel, host_tunnel
from prx_tunnel_core.models import TunnelStatus, VisitorHeaders
from support.memory import Memory, MemoryConnection
from support.virtual import isolate_hosts, no_plugins

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("runtime")]

CONFIG = {"backend": "memory", "reconnect": {"backoff_base_ms": 1, "backoff_max_ms": 1}}


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate_hosts(monkeypatch)


def options(provider: Memory) -> dict[str, Any]:
    return {"backend": provider.backend(), "plugins": no_plugins()}


async def until(tunnel: HostTunnel, kind: type[TunnelStatus]) -> None:
    statuses = tunnel.watch()
    with anyio.fail_after(20):
        while not isinstance(tunnel.status, kind):
            await anext(statuses)


async def test_it_opens_in_the_background_and_closes_with_the_host() -> None:
    provider = Memory()
    async with host_tunnel(CONFIG, **options(provider)) as tunnel:
        assert tunnel.status == Idle()
        statuses = tunnel.watch()
        urls = tunnel.urls()
        await tunnel.first_outcome()
        assert tunnel.info is not None
        assert await anext(urls) == tunnel.info.public_url
        assert (await tunnel.health_check()).verdict == "healthy"
        assert (await ask("status"))["state"] == "connected"
    assert [type(status).__name__ async for status in statuses] == [
        "Idle", "Connecting", "Connected", "Stopped",
    ]  # fmt: skip
    assert provider.open == []
    assert (await tunnel.health_check()).verdict == "unhealthy"


async def test_whoever_waits_for_an_outcome_is_let_go_when_the_host_closes_before() -> None:
    never = anyio.Event()
    with anyio.fail_after(20):
        async with (
            anyio.create_task_group() as tasks,
            host_tunnel(CONFIG, ready=never.wait, **options(Memory())) as tunnel,
        ):
            tasks.start_soon(tunnel.first_outcome)
            await anyio.wait_all_tasks_blocked()


async def test_it_waits_until_the_host_is_ready() -> None:
    provider, ready = Memory(), anyio.Event()
    async with host_tunnel(CONFIG, ready=ready.wait, **options(provider)) as tunnel:
        await tunnel.settled.wait()
        assert (await ask("status"))["state"] == "idle"
        assert provider.attempts == 0
        ready.set()
        await tunnel.first_outcome()
        assert provider.attempts == 1


async def test_a_stop_before_it_was_ready_is_obeyed_later() -> None:
    provider, ready = Memory(), anyio.Event()
    async with host_tunnel(CONFIG, ready=ready.wait, **options(provider)) as tunnel:
        await tunnel.settled.wait()
        await ask("stop")
        await until(tunnel, Stopped)
        ready.set()
        await anyio.wait_all_tasks_blocked()
        assert provider.attempts == 0
        with pytest.raises(TunnelError, match="it was stopped"):
            await tunnel.first_outcome()


@pytest.mark.parametrize(
    ("error", "attempts"), [(SetupError("no token"), 1), (ConnectError("no route"), 11)]
)
async def test_a_failure_is_a_status_that_can_be_asked_for(error: Exception, attempts: int) -> None:
    provider = Memory(errors=[error] * attempts)
    async with host_tunnel(CONFIG, **options(provider)) as tunnel:
        with pytest.raises(TunnelError, match=str(error)):
            await tunnel.first_outcome()
        assert isinstance(tunnel.status, Failed)
        assert (await ask("status"))["state"] == "error"


@pytest.mark.parametrize(
    "wrong", [{"backend": "memory", "local_prt": 1}, {"backend": "Memory"}, {"local_port": "x"}]
)
async def test_a_wrong_configuration_is_a_status_too(wrong: dict[str, Any]) -> None:
    async with host_tunnel(wrong, plugins=no_plugins()) as tunnel:
        await until(tunnel, Failed)


async def test_closing_in_the_middle_of_connecting() -> None:
    provider = Memory(delay=math.inf)
    with anyio.fail_after(20):
        async with host_tunnel(CONFIG, **options(provider)) as tunnel:
            while not provider.opening:
                await anyio.sleep(0.001)
    assert provider.opening == 0
    assert tunnel.status == Stopped()


async def test_an_error_of_the_host_arrives_as_it_is() -> None:
    provider = Memory()
    with pytest.raises(ZeroDivisionError):
        async with host_tunnel(CONFIG, **options(provider)) as tunnel:
            await tunnel.first_outcome()
            raise ZeroDivisionError
    assert provider.open == []


async def test_a_tunnel_that_runs_already_is_used_and_left_alone() -> None:
    provider, unused = (
        Memory(names=["https://one.example.com", "https://two.example.com"]),
        Memory(),
    )
    async with host_tunnel(CONFIG, **options(provider)) as running:
        await running.first_outcome()
        async with host_tunnel(CONFIG, **options(unused)) as tunnel:
            await tunnel.first_outcome()
            assert tunnel.attached
            assert tunnel.info == running.info
            assert (await tunnel.health_check()).verdict == "healthy"
            urls = tunnel.urls()
            assert await anext(urls) == "https://one.example.com"
            provider.connection.drop()
            assert await anext(urls) == "https://two.example.com"
        assert isinstance(running.status, Connected)
    assert unused.attempts == 0


async def test_what_tells_visitors_apart_travels_along(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = VisitorHeaders(always=("x-a", "x-b"), address="x-b")
    monkeypatch.setattr(MemoryConnection, "visitor_headers", headers)
    async with host_tunnel(CONFIG, **options(Memory())) as running:
        await running.first_outcome()
        async with host_tunnel(CONFIG, **options(Memory())) as tunnel:
            await tunnel.first_outcome()
            assert tunnel.info is not None
            assert tunnel.info.visitor_headers == headers


async def test_when_it_is_stopped_no_other_is_opened_in_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody wanted it closed."""
    monkeypatch.setattr("prx_tunnel_core._hosting.POLL", 0.01)
    unused, unwanted = Memory(), anyio.Event()

    async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with host_tunnel(CONFIG, **options(Memory())) as running:
            await running.first_outcome()
            task_status.started()
            await unwanted.wait()

    async with anyio.create_task_group() as tasks:
        await tasks.start(run)
        async with host_tunnel(CONFIG, **options(unused)) as tunnel:
            await tunnel.first_outcome()
            unwanted.set()
            await until(tunnel, Stopped)
            assert (await tunnel.health_check()).verdict == "unhealthy"
            assert unused.attempts == 0
            async with host_tunnel(CONFIG, **options(Memory())):  # the name is free
                await until(tunnel, Connected)


async def test_one_that_ends_just_now_is_waited_for() -> None:
    lock = NameLock("default")
    async with host_tunnel(CONFIG, **options(Memory())) as tunnel:
        while not tunnel.settled.is_set():
            await anyio.sleep(0.001)
            lock.release()
        await until(tunnel, Connected)


async def test_waiting_for_one_that_waits_for_us_would_take_for_ever() -> None:
    """`prx start` opens its tunnel when the host listens, which it does after its start."""
    gate = anyio.Event()
    async with host_tunnel(CONFIG, ready=gate.wait, **options(Memory())) as outer:
        await outer.settled.wait()
        async with host_tunnel(CONFIG, **options(Memory())) as tunnel:
            with anyio.fail_after(20):
                await tunnel.first_outcome()
            assert tunnel.status == Idle()
            gate.set()
            await until(tunnel, Connected)


async def test_a_port_that_is_another_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_core._hosting.POLL", 0.001)
    async with host_tunnel(CONFIG, **options(Memory())) as running:
        await running.first_outcome()
        other = {**CONFIG, "local_port": 4000}
        async with host_tunnel(other, **options(Memory())) as tunnel:
            await tunnel.first_outcome()
            for _ in range(5):
                await ask("status")
                await anyio.sleep(0.002)
    assert caplog.text.count("leads to port 3000, but this host is configured for port 4000") == 1


async def test_a_host_without_a_tunnel() -> None:
    tunnel = HostTunnel.never("default")
    await tunnel.first_outcome()
    assert [status async for status in tunnel.watch()] == [Idle()]
    assert (tunnel.status, tunnel.info) == (Idle(), None)
    with pytest.raises(TunnelError, match="no such file"):
        await HostTunnel.never("default", "no such file").first_outcome()
