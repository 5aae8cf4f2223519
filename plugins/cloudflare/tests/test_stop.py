"""Stopping: requests in flight finish, and nothing is left."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from cloudflare_kit.installed import StandIn
from prx_tunnel_cloudflare import connector
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.connect import connect

from prx_tunnel_core.backend import Target

pytestmark = pytest.mark.anyio

Configure = Callable[..., CloudflareConfig]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def open_and_close(config: CloudflareConfig, target: Target) -> None:
    async with connect(config, target):
        pass


async def test_a_request_in_flight_finishes(
    stand_in: StandIn, configure: Configure, target: Target
) -> None:
    gate = stand_in.gate("request")
    stand_in.plan({"in flight": "request"})
    config = configure(grace_period=30)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(open_and_close, config, target)
        await gate.reached()  # it has had its signal, and waits for the request
        assert alive(stand_in.runs[0].pid)
        assert stand_in.log()[-1] == "SIGTERM"
        gate.release()
    assert stand_in.log()[-1] == "exit 0"
    assert not alive(stand_in.runs[0].pid)
    assert stand_in.runs[0].env["TUNNEL_GRACE_PERIOD"] == "30s"


async def test_a_longer_request_is_cut(
    stand_in: StandIn, configure: Configure, target: Target
) -> None:
    """d02: cloudflared itself ends when the grace period does, in order."""
    stand_in.gate("request")
    stand_in.plan({"in flight": "request"})
    await open_and_close(configure(grace_period=0.1), target)
    assert stand_in.log()[-2:] == ["SIGTERM", "exit 0"]


async def test_a_websocket_needs_the_second_signal(
    stand_in: StandIn, configure: Configure, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """d15, e22: over HTTP/2 the first signal never ends the process, the second does at once."""
    monkeypatch.setattr(connector, "SHUTDOWN", 0.1)
    stand_in.gate("socket")
    stand_in.plan({"in flight": "socket", "websocket": True})
    with anyio.fail_after(20):
        await open_and_close(configure(grace_period=0.1), target)
    assert stand_in.log()[-1] == "SIGTERM"
    assert not alive(stand_in.runs[0].pid)


async def test_stopped_before_there_is_a_signal_handler(
    stand_in: StandIn, configure: Configure, target: Target, tmp_path: Path
) -> None:
    """b04: while the quick-tunnel API is asked, the signal just kills."""
    gate = stand_in.gate("api")
    stand_in.plan({"hold": {"quick Tunnel has been created": "api"}})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(open_and_close, configure(), target)
        await gate.reached()
        tasks.cancel_scope.cancel()
    assert stand_in.log() == []
    assert not alive(stand_in.runs[0].pid)
    assert not list((tmp_path / "tmp").iterdir())


async def test_cancelled_while_registering(
    stand_in: StandIn, configure: Configure, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "SHUTDOWN", 0.1)
    gate = stand_in.gate("edge")
    stand_in.plan({"hold": {"Registered tunnel connection": "edge"}})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(open_and_close, configure(grace_period=0.1), target)
        await gate.reached()
        tasks.cancel_scope.cancel()
    assert not alive(stand_in.runs[0].pid)
