"""The lifespan protocol, spoken as a server speaks it, on both event loops."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from prx_tunnel_core import Connected, Failed, Idle, SetupError, Stopped, TunnelError
from prx_tunnel_core.access import App
from prx_tunnel_core.asgi import HostTunnel, lifespan, with_tunnel
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.errors import unwrap_group
from support.memory import Memory
from support.virtual import isolate_hosts, no_plugins

pytestmark = pytest.mark.anyio

CONFIG = {"backend": "memory", "reconnect": {"enabled": False}}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    isolate_hosts(monkeypatch)
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PRX_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path


def options(provider: Memory) -> dict[str, Any]:
    return {"backend": provider.backend(), "plugins": no_plugins()}


class Server:
    """Drives the lifespan of an application; `said` are its messages."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._to_app = anyio.create_memory_object_stream[dict[str, Any]](2)
        self._news = anyio.Event()
        self.said: list[Any] = []

    async def run(self) -> None:
        await self._app({"type": "lifespan", "state": {}}, self._to_app[1].receive, self._hear)

    async def _hear(self, message: Any) -> None:
        self.said.append(message)
        self._news.set()
        self._news = anyio.Event()

    async def tell(self, word: str) -> dict[str, Any]:
        """Say startup or shutdown; what the application answers."""
        count = len(self.said)
        await self._to_app[0].send({"type": f"lifespan.{word}"})
        with anyio.fail_after(20):
            while len(self.said) == count:
                await self._news.wait()
        return dict(self.said[-1])

    def close(self) -> None:
        for stream in self._to_app:
            stream.close()


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[Server]:
    server = Server(app)
    with unwrap_group():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run)
            try:
                yield server
            finally:
                tasks.cancel_scope.cancel()
                server.close()


async def seen_by_a_request(app: App) -> HostTunnel:
    scope: dict[str, Any] = {"type": "http", "path": "/", "headers": [], "state": {"own": 1}}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the application wants no body")

    await app(scope, receive, send)
    assert sent[0]["own"] == 1
    tunnel = sent[0]["tunnel"]
    assert isinstance(tunnel, HostTunnel)
    return tunnel


class Plain:
    """A plain application, which may know the lifespan protocol in part or not at all."""

    def __init__(self, knows: str = "all") -> None:
        self.knows = knows
        self.started = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            state = scope["state"]
            await send({"own": state["own"], "tunnel": state.get("tunnel")})
            return
        if self.knows == "nothing":
            raise ValueError("Django can only handle ASGI/HTTP connections, not lifespan.")
        if self.knows == "to return":
            return
        await receive()
        if self.knows == "to fail after hearing":
            raise KeyError("lifespan")
        self.started = True
        await send({"type": "lifespan.startup.complete"})
        if self.knows == "to crash":
            raise ZeroDivisionError
        async with anyio.create_task_group():  # a scope around the whole life
            await receive()
            await send({"type": "lifespan.shutdown.complete"})


@pytest.mark.parametrize("knows", ["all", "nothing", "to return", "to fail after hearing"])
async def test_any_application_has_a_tunnel_for_its_life(knows: str) -> None:
    provider = Memory()
    app = with_tunnel(Plain(knows), CONFIG, **options(provider))
    async with serving(app) as server:
        assert await server.tell("startup") == {"type": "lifespan.startup.complete"}
        tunnel = await seen_by_a_request(app)
        await tunnel.first_outcome()
        assert await server.tell("shutdown") == {"type": "lifespan.shutdown.complete"}
        # A server ends once it has heard that: by then, nothing may be left.
        assert provider.open == []
        assert tunnel.status == Stopped()


async def test_the_start_of_the_host_waits_for_nothing() -> None:
    provider = Memory(delay=math.inf)
    app = with_tunnel(Plain(), CONFIG, **options(provider))
    async with serving(app) as server:
        await server.tell("startup")
        tunnel = await seen_by_a_request(app)
        while not provider.opening:
            await anyio.sleep(0.001)
        await server.tell("shutdown")  # in the middle of connecting
        assert provider.opening == 0
        assert tunnel.status == Stopped()


async def test_the_start_of_the_host_does_not_fail_by_its_tunnel() -> None:
    app = with_tunnel(Plain(), CONFIG, **options(Memory(errors=[SetupError("no token")])))
    async with serving(app) as server:
        assert (await server.tell("startup"))["type"] == "lifespan.startup.complete"
        tunnel = await seen_by_a_request(app)
        with pytest.raises(TunnelError, match="no token"):
            await tunnel.first_outcome()
        assert (await server.tell("shutdown"))["type"] == "lifespan.shutdown.complete"


async def test_it_does_both_when_asked() -> None:
    provider = Memory()
    app = with_tunnel(Plain(), CONFIG, wait=True, **options(provider))
    async with serving(app) as server:
        await server.tell("startup")
        assert isinstance((await seen_by_a_request(app)).status, Connected)
        await server.tell("shutdown")
    plain = Plain()
    failing = Memory(errors=[SetupError("no token")])
    async with serving(with_tunnel(plain, CONFIG, wait=True, **options(failing))) as server:
        answer = await server.tell("startup")
    assert answer["type"] == "lifespan.startup.failed"
    assert "no token" in answer["message"]
    assert not plain.started


async def test_an_application_that_crashes_takes_its_tunnel_along() -> None:
    provider = Memory()
    app = with_tunnel(Plain("to crash"), CONFIG, **options(provider))
    with pytest.raises(ZeroDivisionError):
        async with serving(app) as server:
            await server.tell("startup")
            await anyio.sleep_forever()
    assert provider.open == []


async def test_a_server_without_lifespan_does_without_a_tunnel() -> None:
    app = with_tunnel(Plain(), CONFIG, **options(Memory()))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the application wants no body")

    await app({"type": "http", "state": {"own": 1}}, receive, send)
    assert sent == [{"own": 1, "tunnel": None}]


async def test_the_lifespan_of_a_framework_and_the_hosts_own() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def own(app: Any) -> AsyncIterator[dict[str, Any]]:
        events.append("database opened")
        yield {"database": 5}
        events.append(f"database closed, tunnels left: {len(provider.open)}")

    provider = Memory()
    app = SimpleNamespace(state=SimpleNamespace())
    live = lifespan(CONFIG, own=own, wait=True, **options(provider))
    async with live(app) as state:
        assert state["database"] == 5
        assert state["tunnel"] is app.state.tunnel
        assert isinstance(state["tunnel"].status, Connected)
    assert events == ["database opened", "database closed, tunnels left: 0"]


async def test_an_own_lifespan_that_fails_opens_nothing() -> None:
    @asynccontextmanager
    async def own(app: Any) -> AsyncIterator[None]:
        raise ZeroDivisionError
        yield

    provider = Memory()
    with pytest.raises(ZeroDivisionError):
        async with lifespan(CONFIG, own=own, **options(provider))(None):
            pytest.fail("it must not start")
    assert provider.attempts == 0


async def test_the_configuration_file_has_to_ask_for_a_tunnel(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Memory()
    file = place / "config.toml"
    for text, status, said in [
        ("[gateway]\nport = 3000\n", Idle, "no [tunnel] table"),
        ("[tunnel]\nbackend = 'memory'\nauto_start = false\n", Idle, "auto_start is false"),
        ("[tunnel]\nbackend = 'memory'\nlocal_prt = 1\n", Failed, "local_port"),
        ("[tunnel]\nbackend = 'memory'\n", Connected, ""),
    ]:
        file.write_text(text)
        caplog.clear()
        caplog.set_level("INFO")
        async with lifespan(name="own", **options(provider))(None) as state:
            tunnel = state["tunnel"]
            if status is Connected:
                await tunnel.first_outcome()
            assert isinstance(tunnel.status, status)
            assert tunnel.name == "own"
            if isinstance(tunnel.status, Failed):
                assert said in tunnel.status.message
            assert said in caplog.text
    assert provider.attempts == 1


@pytest.mark.parametrize("kind", [dict, TunnelConfig])
async def test_auto_start_counts_in_a_program_too(kind: Any) -> None:
    provider = Memory()
    off = kind(backend="memory", auto_start=False)
    async with lifespan(off, wait=True, **options(provider))(None) as state:
        assert state["tunnel"].status == Idle()
    assert provider.attempts == 0


async def test_two_hosts_share_one_tunnel() -> None:
    """Workers of one server, say: the second neither opens one nor ends the first's."""
    provider, unused = Memory(), Memory()
    async with lifespan(CONFIG, wait=True, **options(provider))(None) as first:
        async with lifespan(CONFIG, wait=True, **options(unused))(None) as second:
            assert second["tunnel"].info == first["tunnel"].info
        assert isinstance(first["tunnel"].status, Connected)
    assert (provider.attempts, unused.attempts) == (1, 0)
