"""S07: the tunnels of other processes that lead to the port of this host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from prx_tunnel_core import Tunnel, access
from prx_tunnel_core._control.async_client import NoAnswer
from prx_tunnel_core._control.server import serve
from prx_tunnel_core.asgi import Neighbours, lifespan
from support.memory import Memory
from support.virtual import isolate_hosts, no_plugins

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("runtime")]

CONFIG = {"backend": "memory", "local_port": 3000, "health_check_url": False}


@pytest.fixture(autouse=True)
def connected(monkeypatch: pytest.MonkeyPatch) -> dict[object, Any]:
    """What is known of others; a tunnel of this process that is removed from it is one of them."""
    known: dict[object, Any] = {}
    monkeypatch.setattr(access, "connected", known)
    return known


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    isolate_hosts(monkeypatch)


def options(provider: Memory) -> dict[str, Any]:
    return {"backend": provider.backend(), "plugins": no_plugins()}


async def test_s07_a_tunnel_of_another_process_is_known_while_it_runs(
    connected: dict[object, Any],
) -> None:
    neighbours = Neighbours("default")
    await neighbours.look()
    assert connected == {}
    async with Tunnel(CONFIG, name="second", **options(Memory())) as tunnel, serve(tunnel):
        await neighbours.look()
        assert connected == {}
        await tunnel.start()
        connected.clear()
        await neighbours.look()
        assert list(connected.values()) == [tunnel.info]
        own = Neighbours("second")
        await own.look()
        assert len(connected) == 1
    await neighbours.look()
    assert connected == {}


async def test_s07_what_was_known_holds_while_there_is_no_answer(
    connected: dict[object, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: object, **__: object) -> dict[str, Any]:
        raise NoAnswer("it is suspended")

    async def foreign(*_: object, **__: object) -> dict[str, Any]:
        return {"state": "connected"}

    neighbours = Neighbours("default")
    async with Tunnel(CONFIG, name="second", **options(Memory())) as tunnel, serve(tunnel):
        await tunnel.start()
        connected.clear()
        await neighbours.look()
        for answer in (silent, foreign):
            monkeypatch.setattr("prx_tunnel_core._hosting.ask", answer)
            await neighbours.look()
            assert list(connected.values()) == [tunnel.info]


async def test_s07_a_host_looks_for_them_until_it_ends(
    connected: dict[object, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_core.asgi.NEIGHBOURS_POLL", 0.01)
    async with Tunnel(CONFIG, name="second", **options(Memory())) as tunnel, serve(tunnel):
        await tunnel.start()
        host = lifespan(CONFIG, wait=True, **options(Memory()))
        async with host(SimpleNamespace()):
            connected.clear()
            with anyio.fail_after(20):
                while tunnel.info not in connected.values():
                    await anyio.sleep(0.01)
        assert connected == {}


async def test_s07_a_runtime_directory_that_cannot_be_trusted_is_left_alone(
    connected: dict[object, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", "relative")
    await Neighbours("default").look()
    assert connected == {}
