# A status is a property: mypy believes that it stays what it was compared with.
# mypy: disable-error-code="comparison-overlap, exhaustive-match"

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
import trio

from prx_tunnel_core import (
    Check,
    ConfigError,
    Connected,
    ConnectError,
    Connecting,
    Connection,
    Failed,
    Idle,
    Reconnecting,
    SetupError,
    Stopped,
    Target,
    Tunnel,
    TunnelError,
    open_tunnel,
)
from prx_tunnel_core.backend import Backend
from prx_tunnel_core.models import TunnelStatus
from prx_tunnel_core.tunnel import TunnelOptions
from support.memory import FakeProber, Memory, MemoryConfig
from support.virtual import IsolatedTunnel, Recorded, in_memory, no_plugins, virtual


async def settle() -> None:
    """Let everything that is due at this moment happen."""
    await trio.testing.wait_all_tasks_blocked()


@virtual
async def test_start_returns_the_info_of_the_first_connection() -> None:
    async with in_memory(Memory(), local_port=4567) as tunnel:
        assert tunnel.status == Idle()
        info = await tunnel.start()
        assert (info.public_url, info.backend, info.local_port) == (
            "https://agent.example.com", "memory", 4567,
        )  # fmt: skip
        assert info.started_at.tzinfo is not None
        assert tunnel.status == Connected(info)
        assert tunnel.info == info
    assert tunnel.status == Stopped()
    assert tunnel.info is None
    assert tunnel.states == ["Connecting", "Connected", "Stopped"]


@virtual
async def test_a_tunnel_starts_and_stops_any_number_of_times() -> None:
    memory = Memory()
    async with in_memory(memory) as tunnel:
        for _ in range(5):
            await tunnel.start()
            assert len(memory.open) == 1
            await tunnel.stop()
            assert memory.open == []
    assert tunnel.states == ["Connecting", "Connected", "Stopped"] * 5


@virtual
async def test_leaving_the_context_closes_the_connection_and_raises_what_the_body_raised() -> None:
    memory = Memory()
    with pytest.raises(LookupError, match="the host's own"):
        async with in_memory(memory) as tunnel:
            await tunnel.start()
            raise LookupError("the host's own")
    assert memory.open == []


@virtual
async def test_a_hundred_starts_open_one_connection() -> None:
    memory = Memory(delay=1)
    infos = []
    async with in_memory(memory) as tunnel, anyio.create_task_group() as tasks:

        async def start() -> None:
            infos.append(await tunnel.start())

        for _ in range(100):
            tasks.start_soon(start)
        await settle()
        await anyio.sleep(1)
        await settle()
        assert memory.attempts == 1
        assert len(infos) == 100
        assert len(set(map(id, infos))) == 1
        await tunnel.start()  # while connected: the same again
        assert memory.attempts == 1


@virtual
async def test_a_setup_error_fails_at_once_and_is_never_retried() -> None:
    memory = Memory(errors=[SetupError("the token is not valid")])
    async with in_memory(memory) as tunnel:
        with pytest.raises(SetupError, match="the token is not valid"):
            await tunnel.start()
        assert tunnel.status == Failed("the token is not valid")
        await anyio.sleep(3600)
        assert memory.attempts == 1
        await tunnel.start()  # fixed by now
        assert isinstance(tunnel.status, Connected)


@virtual
async def test_connect_errors_are_retried_with_growing_delays_then_given_up() -> None:
    memory = Memory(errors=[ConnectError("no route")] * 99)
    reconnect = {"max_attempts": 4, "backoff_base_ms": 1000, "backoff_max_ms": 5000}
    async with in_memory(memory, reconnect=reconnect) as tunnel:
        with pytest.raises(ConnectError, match="gave up after 4 attempts: no route"):
            await tunnel.start()
        gaps = [b - a for a, b in zip(memory.times, memory.times[1:], strict=False)]
        assert gaps == pytest.approx([1, 2, 4, 5])
        assert memory.attempts == 5  # the first one is no reconnect
        assert tunnel.status == Failed("gave up after 4 attempts: no route")
        memory.errors.clear()
        await tunnel.start()
        assert tunnel.status == Connected(tunnel.info, attempt=0)  # type: ignore[arg-type]


@virtual
async def test_max_attempts_zero_is_without_limit() -> None:
    memory = Memory(errors=[ConnectError("down")] * 300)
    async with in_memory(memory, reconnect={"max_attempts": 0}) as tunnel:
        await tunnel.start()
    assert memory.attempts == 301


@virtual
async def test_the_reason_and_the_next_attempt_are_told() -> None:
    memory = Memory(errors=[ConnectError("refused")])
    async with in_memory(memory, jitter=0.0) as tunnel:
        await tunnel.start()
    statuses = [status for _, status in tunnel.history]
    assert statuses[:3] == [Connecting(0), Reconnecting(1, "refused", 0.5), Connecting(1)]


@virtual
async def test_retry_after_is_a_floor_above_the_configured_maximum() -> None:
    memory = Memory(errors=[ConnectError("rate limited", retry_after=600)])
    async with in_memory(memory, reconnect={"backoff_max_ms": 1000}) as tunnel:
        await tunnel.start()
        assert memory.times[1] - memory.times[0] == pytest.approx(600)


@virtual
async def test_without_reconnect_the_first_failure_ends_it() -> None:
    memory = Memory(errors=[ConnectError("refused")])
    async with in_memory(memory, reconnect={"enabled": False}) as tunnel:
        with pytest.raises(ConnectError, match=r"^refused$"):
            await tunnel.start()
        await tunnel.start()
        memory.connection.drop("edge went away")
        await settle()
        assert tunnel.status == Failed("edge went away")


@virtual
async def test_connecting_is_bounded_in_time() -> None:
    memory = Memory(delay=math.inf)
    async with in_memory(memory, connect_timeout=7, reconnect={"enabled": False}) as tunnel:
        begun = trio.current_time()
        with pytest.raises(ConnectError, match=r"not connected within 7 s"):
            await tunnel.start()
        assert trio.current_time() - begun == pytest.approx(7)


@virtual
async def test_a_backend_may_stretch_the_time_to_connect() -> None:
    memory = Memory(delay=30)
    async with in_memory(memory, connect_timeout=7, memory={"connect_timeout": 40}) as tunnel:
        await tunnel.start()
        assert memory.attempts == 1


@virtual
async def test_a_drop_withdraws_the_url_and_reconnects() -> None:
    memory = Memory(names=["https://a.example.com", "https://b.example.com"])
    async with in_memory(memory) as tunnel:
        await tunnel.start()
        memory.connection.drop("edge went away")
        await settle()
        assert tunnel.info is None
        assert tunnel.status == Reconnecting(1, "edge went away", 1.0)
        await anyio.sleep(1)
        await settle()
        assert tunnel.info is not None
        assert tunnel.info.public_url == "https://b.example.com"
        assert tunnel.status == Connected(tunnel.info, attempt=1)


@virtual
async def test_the_url_is_withdrawn_before_the_rest_is_cleared_away() -> None:
    memory = Memory(teardown=8)
    async with in_memory(memory) as tunnel:
        await tunnel.start()
        memory.connection.drop()
        await settle()
        assert isinstance(tunnel.status, Reconnecting)
        await anyio.sleep(7.9)
        assert memory.attempts == 1  # the next one waits for the old one to be gone
        await anyio.sleep(1.2)
        assert memory.attempts == 2
    assert memory.most_open == 1


@virtual
async def test_flapping_climbs_and_gives_up() -> None:
    memory = Memory()
    async with in_memory(memory, reconnect={"max_attempts": 3}) as tunnel:
        await tunnel.start()
        for _ in range(4):
            await anyio.sleep(2)
            await settle()
            if memory.open:
                memory.connection.drop("flap")
            await anyio.sleep(8)
        assert tunnel.status == Failed("gave up after 3 attempts: flap")


@virtual
async def test_a_stable_connection_makes_the_next_drop_a_first_one() -> None:
    memory = Memory()
    async with in_memory(memory) as tunnel:
        await tunnel.start()
        for seconds, attempt in [(1, 1), (29, 2), (31, 1), (1, 2)]:
            await anyio.sleep(seconds)
            memory.connection.drop()
            await settle()
            assert isinstance(tunnel.status, Reconnecting)
            assert tunnel.status.attempt == attempt
            await anyio.sleep(tunnel.status.retry_in)
            await settle()


@virtual
async def test_attempts_made_while_this_machine_is_offline_are_not_counted() -> None:
    online = False
    memory = Memory(errors=[ConnectError("unreachable")] * 50)
    async with in_memory(memory, online=lambda: online, reconnect={"max_attempts": 2}) as tunnel:
        with trio.move_on_after(3600):
            await tunnel.start()
        assert not isinstance(tunnel.status, Failed)
    assert 3 < memory.attempts <= 61  # one a minute, and the first
    reconnecting = [s for _, s in tunnel.history if isinstance(s, Reconnecting)]
    assert {status.attempt for status in reconnecting} == {0}
    assert reconnecting[0].reason == "this machine is offline: unreachable"


@virtual
async def test_back_online_the_next_attempt_comes_within_seconds() -> None:
    online = False
    memory = Memory(errors=[ConnectError("unreachable", retry_after=500)])
    async with in_memory(memory, online=lambda: online) as tunnel, anyio.create_task_group() as tg:
        tg.start_soon(tunnel.start)
        await anyio.sleep(100)
        online = True
        await anyio.sleep(2)
        await settle()
        assert isinstance(tunnel.status, Connected)


@virtual
@pytest.mark.parametrize("seconds", [0.0, 0.4, 1.5])
async def test_stop_ends_every_state_at_once(seconds: float) -> None:
    """Connecting, connected, or between two attempts: stopping takes no time of its own."""
    memory = Memory(delay=0.5, errors=[ConnectError("no")] if seconds > 1 else [])
    async with in_memory(memory) as tunnel, anyio.create_task_group() as tasks:

        async def start() -> None:
            with pytest.raises(TunnelError, match="stopped before it was connected"):
                await tunnel.start()

        tasks.start_soon(start)
        await settle()
        await anyio.sleep(seconds)
        begun = trio.current_time()
        await tunnel.stop()
        assert trio.current_time() == begun
        assert tunnel.status == Stopped()
        assert memory.open == []
        await tunnel.stop()


@virtual
async def test_stop_of_an_idle_tunnel_leaves_it_idle_and_of_a_failed_one_stops_it() -> None:
    memory = Memory(errors=[SetupError("x")])
    async with in_memory(memory) as tunnel:
        await tunnel.stop()
        assert tunnel.status == Idle()
        with pytest.raises(SetupError):
            await tunnel.start()
        await tunnel.stop()
        assert tunnel.status == Stopped()


@virtual
async def test_stop_wins_over_a_failure_in_the_same_moment() -> None:
    memory = Memory()
    async with in_memory(memory, reconnect={"enabled": False}) as tunnel:
        await tunnel.start()
        memory.connection.drop()
        await tunnel.stop()
        assert tunnel.status == Stopped()


@virtual
async def test_g11_a_start_after_a_stop_waits_for_the_old_connection_to_be_gone() -> None:
    memory = Memory(teardown=3)
    async with in_memory(memory) as tunnel, anyio.create_task_group() as tasks:
        await tunnel.start()
        tasks.start_soon(tunnel.stop)
        await settle()
        await tunnel.start()
        assert memory.most_open == 1
        assert memory.times[1] - memory.times[0] == pytest.approx(3)


@virtual
async def test_cancelling_the_only_start_stops_the_tunnel() -> None:
    memory = Memory(delay=math.inf)
    async with in_memory(memory) as tunnel:
        with trio.move_on_after(1):
            await tunnel.start()
        assert tunnel.status == Stopped()
        assert memory.opening == 0


@virtual
async def test_cancelling_one_of_two_starts_leaves_the_other_waiting() -> None:
    memory = Memory(delay=5)
    async with in_memory(memory) as tunnel, anyio.create_task_group() as tasks:
        tasks.start_soon(tunnel.start)
        await settle()
        with trio.move_on_after(1):
            await tunnel.start()
        await anyio.sleep(4)
        await settle()
        assert isinstance(tunnel.status, Connected)


@virtual
async def test_a_cancelled_stop_still_stops() -> None:
    memory = Memory(teardown=5)
    async with in_memory(memory) as tunnel:
        await tunnel.start()
        with trio.move_on_after(1):
            await tunnel.stop()
        assert len(memory.open) == 1
        await anyio.sleep(5)
        assert tunnel.status == Stopped()
        assert memory.open == []


@virtual
async def test_n_failed_checks_in_a_row_disconnect_and_reconnect() -> None:
    prober = FakeProber()
    memory = Memory()
    async with in_memory(
        memory, prober=prober, health_check_interval=10, health_check_failures=3
    ) as tunnel:
        await tunnel.start()
        prober.public_verdict = Check("public", "fail", "HTTP 530")
        await anyio.sleep(29)
        assert isinstance(tunnel.status, Connected)
        await anyio.sleep(1.5)
        assert tunnel.status == Reconnecting(
            1, "3 health checks in a row failed: public: HTTP 530", 1.0
        )
        assert memory.open == []


@virtual
@pytest.mark.parametrize(
    ("between", "reconnects"), [("ok", False), ("unknown", True)], ids=["ok", "unknown"]
)
async def test_ok_clears_the_count_and_unknown_does_neither(between: str, reconnects: bool) -> None:
    prober = FakeProber()
    memory = Memory()
    async with in_memory(
        memory, prober=prober, health_check_interval=10, health_check_failures=3
    ) as tunnel:
        await tunnel.start()
        for verdict in ["fail", "fail", between, "fail"]:
            prober.public_verdict = Check("public", verdict)  # type: ignore[arg-type]
            await anyio.sleep(10)
            await settle()
        assert isinstance(tunnel.status, Reconnecting) == reconnects


@virtual
async def test_a_closed_local_port_is_degraded_and_never_torn_down() -> None:
    prober = FakeProber()
    prober.local_verdict = Check("local", "fail", "nothing listens")
    memory = Memory()
    async with in_memory(memory, prober=prober) as tunnel:
        await tunnel.start()
        await anyio.sleep(3600)
        assert tunnel.last_health is not None
        assert tunnel.last_health.verdict == "degraded"
        assert memory.attempts == 1


@virtual
async def test_a_program_that_comes_back_by_itself_is_given_the_time() -> None:
    prober = FakeProber()
    memory = Memory()
    async with in_memory(memory, prober=prober, health_check_interval=10) as tunnel:
        await tunnel.start()
        prober.public_verdict = Check("public", "fail", "HTTP 530")
        memory.connection.word = Check("edge", "unknown", "reconnecting")
        await anyio.sleep(95)
        assert isinstance(tunnel.status, Connected)
        await anyio.sleep(30)  # but not for ever
        assert memory.attempts == 2


@virtual
async def test_what_the_backend_finds_wrong_on_our_side_degrades() -> None:
    memory = Memory()
    async with in_memory(memory) as tunnel:
        await tunnel.start()
        memory.connection.word = Check("local", "fail", "the route leads to port 8080")
        health = await tunnel.health_check()
        assert health.verdict == "degraded"
        assert health.check("local") == memory.connection.word


@virtual
async def test_a_slow_check_is_never_doubled() -> None:
    prober = FakeProber()
    prober.takes = 25
    async with in_memory(Memory(), prober=prober, health_check_interval=10) as tunnel:
        await tunnel.start()
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(tunnel.health_check)
        await anyio.sleep(200)
        assert prober.most_running == 1


@virtual
async def test_health_check_while_not_connected_says_so() -> None:
    async with in_memory(Memory()) as tunnel:
        health = await tunnel.health_check()
        assert health.verdict == "unhealthy"
        assert health.checks == (Check("process", "fail", "the tunnel is not connected (idle)"),)


@virtual
async def test_a_check_that_ends_after_the_drop_does_not_call_the_tunnel_healthy() -> None:
    prober = FakeProber()
    prober.takes = 5
    memory = Memory()
    async with in_memory(memory, prober=prober, reconnect={"enabled": False}) as tunnel:
        await tunnel.start()
        results = []

        async def check() -> None:
            results.append(await tunnel.health_check())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(check)
            await anyio.sleep(1)
            memory.connection.drop()
        assert results[0].verdict == "unhealthy"


@virtual
async def test_a_probe_with_a_defect_is_unknown() -> None:
    class Broken(FakeProber):
        async def local(self, target: Target) -> Check:
            raise ZeroDivisionError

    memory = Memory()
    async with in_memory(memory, prober=Broken()) as tunnel:
        await tunnel.start()
        health = await tunnel.health_check()
        local = health.check("local")
        assert local is not None
        assert local.verdict == "unknown"


@virtual
async def test_watchers_get_each_status_and_end_with_the_context() -> None:
    async with in_memory(Memory()) as tunnel:
        watch = tunnel.watch()
        await tunnel.start()
    assert [type(status) async for status in watch] == [Idle, Connecting, Connected, Stopped]


@virtual
async def test_watch_begins_with_the_current_status_and_urls_with_the_current_url() -> None:
    memory = Memory()
    tunnel = in_memory(memory)
    assert [status async for status in tunnel.watch()] == [Idle()]
    async with tunnel:
        info = await tunnel.start()
        watch, urls = tunnel.watch(), tunnel.urls()
        assert await anext(watch) == Connected(info)
        assert await anext(urls) == info.public_url
        memory.connection.drop()
        assert isinstance(await anext(watch), Reconnecting)
        urls = tunnel.urls()
    assert [url async for url in urls] == []
    assert [status async for status in tunnel.watch()] == [Stopped()]


@virtual
async def test_on_status_is_called_at_once_with_each_change_and_nothing_else() -> None:
    memory = Memory(errors=[SetupError("fix the account")])
    seen: list[tuple[str, bool]] = []

    def on_status(status: TunnelStatus) -> None:
        seen.append((type(status).__name__, tunnel.status is status))

    tunnel = IsolatedTunnel(
        {"backend": "memory"},
        backend=memory.backend(),
        plugins=no_plugins(),
        on_status=on_status,
    )
    async with tunnel:
        with pytest.raises(SetupError):
            await tunnel.start()
        await tunnel.stop()
        await tunnel.stop()
        await tunnel.start()
        assert seen[-1] == ("Connected", True)
    names = ["Connecting", "Failed", "Stopped", "Connecting", "Connected", "Stopped"]
    assert seen == [(name, True) for name in names]


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), SystemExit(9)])
def test_an_exception_of_on_status_is_logged_and_changes_nothing(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def on_status(_: TunnelStatus) -> None:
        raise error

    @virtual
    async def live() -> None:
        memory = Memory()
        tunnel = IsolatedTunnel(
            {"backend": "memory"},
            backend=memory.backend(),
            plugins=no_plugins(),
            on_status=on_status,
        )
        async with tunnel:
            await tunnel.start()
            assert isinstance(tunnel.status, Connected)
            assert memory.attempts == 1
        assert tunnel.status == Stopped()

    live()
    records = [each for each in caplog.records if "on_status" in each.getMessage()]
    assert [each.exc_info and each.exc_info[1] for each in records] == [error] * 3


def test_tunnel_options_are_the_keywords_of_a_tunnel() -> None:
    parameters = inspect.signature(Tunnel).parameters.values()
    keywords = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    assert set(TunnelOptions.__annotations__) == keywords


@virtual
async def test_a_watcher_that_never_reads_keeps_the_latest() -> None:
    async with in_memory(Memory()) as tunnel:
        watch = tunnel.watch()
        for _ in range(500):
            await tunnel.start()
            await tunnel.stop()
    seen = [status async for status in watch]
    assert len(seen) <= 64
    assert seen[-1] == Stopped()


@virtual
async def test_urls_are_each_that_differs_from_the_one_before() -> None:
    memory = Memory(names=[f"https://{n}.example.com" for n in "aab"])
    async with in_memory(memory) as tunnel:
        await tunnel.start()
        urls = tunnel.urls()
        for _ in range(2):
            memory.connection.drop()
            await anyio.sleep(5)
    assert [url async for url in urls] == ["https://a.example.com", "https://b.example.com"]


@virtual
async def test_open_tunnel_is_enter_and_start() -> None:
    memory = Memory()
    async with open_tunnel(
        {"backend": "memory"}, backend=memory.backend(), plugins=no_plugins()
    ) as tunnel:
        assert tunnel.info is not None
    assert tunnel.status == Stopped()


@virtual
async def test_start_outside_of_the_context_says_how() -> None:
    with pytest.raises(RuntimeError, match="async with Tunnel"):
        await in_memory(Memory()).start()


def test_a_wrong_configuration_is_refused_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"tunnel\.local_port"):
        Tunnel({"local_port": "3000"})


@virtual
async def test_wrong_settings_of_the_backend_fail_the_start_with_their_key() -> None:
    async with in_memory(Memory(), memory={"nothing": 1}) as tunnel:
        with pytest.raises(ConfigError, match=r"tunnel\.memory: unknown key 'nothing'"):
            await tunnel.start()
        assert isinstance(tunnel.status, Failed)


def broken_backend(how: str) -> Backend[MemoryConfig]:
    @asynccontextmanager
    async def connect(config: MemoryConfig, target: Target) -> AsyncIterator[Connection]:
        match how:
            case "defect":
                raise ZeroDivisionError("oops")
            case "exit":
                raise SystemExit(9)
            case "os":
                raise ConnectionRefusedError(111, "Connection refused")
            case "group":
                raise BaseExceptionGroup("many", [ValueError("a"), SetupError("fix me")])
            case "exit in a group":
                raise BaseExceptionGroup("many", [ValueError("a"), SystemExit(9)])
            case "yields text":
                yield "https://x.example.com"  # type: ignore[misc]
            case "own address":
                async with Memory().connect(MemoryConfig(url="http://localhost:3000"), target) as c:
                    yield c
            case "no url":
                async with Memory().connect(MemoryConfig(url="javascript:alert(1)"), target) as c:
                    yield c

    return Backend(name="memory", summary="", config=MemoryConfig, connect=connect)


@virtual
@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("defect", ConnectError, "a defect of backend 'memory': ZeroDivisionError: oops"),
        ("exit", ConnectError, "a defect of backend 'memory': SystemExit: 9"),
        ("exit in a group", ConnectError, "a defect of backend 'memory': SystemExit: 9"),
        ("os", ConnectError, "Connection refused"),
        ("group", SetupError, "fix me"),
        ("yields text", SetupError, "backend 'memory' yielded a str, not a Connection"),
        ("own address", ConnectError, "gave the local address http://localhost:3000 as public"),
        ("no url", ConnectError, "gave no valid public URL"),
    ],
)
async def test_whatever_a_backend_raises_is_a_tunnel_error(
    how: str, error: type[TunnelError], message: str
) -> None:
    config = {"backend": "memory", "reconnect": {"enabled": False}}
    tunnel = Recorded(config, backend=broken_backend(how), plugins=no_plugins())
    async with tunnel:
        with pytest.raises(error, match=message):
            await tunnel.start()
        assert isinstance(tunnel.status, Failed)


@virtual
@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (SetupError("the token was revoked"), Failed("the token was revoked")),
        (ZeroDivisionError("oops"), Reconnecting(1, "", 1.0)),
        (SystemExit(3), Reconnecting(1, "", 1.0)),
    ],
)
async def test_what_a_connection_raises_instead_of_a_reason(
    raised: BaseException, status: Failed | Reconnecting
) -> None:
    @asynccontextmanager
    async def connect(config: MemoryConfig, target: Target) -> AsyncIterator[Connection]:
        async with memory.connect(config, target) as connection:

            async def wait_closed() -> str:
                await anyio.sleep(5)
                raise raised

            connection.wait_closed = wait_closed  # type: ignore[method-assign]
            yield connection

    memory = Memory()
    backend = Backend(name="memory", summary="", config=MemoryConfig, connect=connect)
    tunnel = Recorded({"backend": "memory"}, backend=backend, plugins=no_plugins())
    async with tunnel:
        await tunnel.start()
        await anyio.sleep(5.1)
        if isinstance(status, Failed):
            assert tunnel.status == status
        else:
            assert isinstance(tunnel.status, Reconnecting)
            assert tunnel.status.reason.startswith("a defect of backend 'memory': ")


@virtual
async def test_a_backend_that_raises_while_closing_does_not_hide_the_reason() -> None:
    @asynccontextmanager
    async def connect(config: MemoryConfig, target: Target) -> AsyncIterator[Connection]:
        async with memory.connect(config, target) as connection:
            yield connection
        raise ZeroDivisionError

    memory = Memory()
    backend = Backend(name="memory", summary="", config=MemoryConfig, connect=connect)
    config = {"backend": "memory", "reconnect": {"enabled": False}}
    async with Recorded(config, backend=backend, plugins=no_plugins()) as tunnel:
        await tunnel.start()
        memory.connection.drop("the edge said goodbye")
        await settle()
        assert tunnel.status == Failed("the edge said goodbye")


@virtual
async def test_a_backend_that_never_finishes_closing_is_left_behind() -> None:
    @asynccontextmanager
    async def connect(config: MemoryConfig, target: Target) -> AsyncIterator[Connection]:
        async with memory.connect(config, target) as connection:
            try:
                yield connection
            finally:
                await anyio.sleep_forever()

    memory = Memory()
    backend = Backend(name="memory", summary="", config=MemoryConfig, connect=connect)
    async with Recorded({"backend": "memory"}, backend=backend, plugins=no_plugins()) as tunnel:
        await tunnel.start()
        memory.connection.drop()
        await anyio.sleep(20)
        await settle()
        assert memory.attempts == 2
        begun = trio.current_time()
        await tunnel.stop()
        assert trio.current_time() == begun
