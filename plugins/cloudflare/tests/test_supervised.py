"""The backend under core's supervisor, found by its entry point."""

from __future__ import annotations

import anyio
import pytest
from cloudflare_kit.installed import StandIn, order

from prx_tunnel_core import (
    Connected,
    ConnectError,
    Failed,
    Reconnecting,
    SetupError,
    Tunnel,
    TunnelStatus,
)
from prx_tunnel_core._plugins import PluginRegistry

pytestmark = pytest.mark.anyio


def tunnel(stand_in: StandIn, **table: object) -> Tunnel:
    cloudflare = {"program": str(stand_in.program), **table}
    reconnect = {"backoff_base_ms": 1, "backoff_max_ms": 1}
    # `cloudflare` is the default backend: nothing says so here.
    return Tunnel({"local_port": 9999, "reconnect": reconnect, "cloudflare": cloudflare})


async def until(tunnel: Tunnel, kind: type[TunnelStatus]) -> TunnelStatus:
    with anyio.fail_after(30):
        async for status in tunnel.watch():
            if isinstance(status, kind):
                return status
    raise AssertionError("the tunnel's context was left")


def test_the_entry_point() -> None:
    backend = PluginRegistry().backend("cloudflare")
    assert (backend.name, backend.program) == ("cloudflare", "cloudflared")
    assert backend.diagnose is not None
    assert "install cloudflared" in backend.install_hint


async def test_every_start_has_another_name(stand_in: StandIn) -> None:
    plans = [{"hostname": f"{word}.trycloudflare.com"} for word in ("first-one", "second-one")]
    stand_in.plan(*plans)
    async with tunnel(stand_in) as supervised:
        info = await supervised.start()
        assert info.public_url == "https://first-one.trycloudflare.com"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(order, info.details["metrics"], "exit", "0")
            await until(supervised, Reconnecting)
            again = await until(supervised, Connected)
        assert isinstance(again, Connected)
        assert again.info.public_url == "https://second-one.trycloudflare.com"


async def test_a_rate_limit_is_respected(stand_in: StandIn) -> None:
    stand_in.plan({"play": ["b03-quick-api-429-text", 0]})
    async with tunnel(stand_in) as supervised, anyio.create_task_group() as tasks:
        tasks.start_soon(supervised.start)
        status = await until(supervised, Reconnecting)
        assert isinstance(status, Reconnecting)
        assert status.retry_in >= 300
        assert "429" in status.reason
        tasks.cancel_scope.cancel()
    assert len(stand_in.runs) == 1


async def test_what_must_be_fixed_is_not_retried(stand_in: StandIn, token: str) -> None:
    stand_in.plan({"play": ["c03-token-no-remote-config", 0]})
    async with tunnel(stand_in, token=token) as supervised:
        with pytest.raises(SetupError, match="no public host name"):
            await supervised.start()
        assert isinstance(supervised.status, Failed)
    assert len(stand_in.runs) == 1


async def test_a_wrong_route_does_not_tear_it_down(stand_in: StandIn, token: str) -> None:
    stand_in.plan({"without": "version=8"})
    cloudflare = {"program": str(stand_in.program), "token": token}
    table = {"local_port": 3000, "health_check_url": False, "cloudflare": cloudflare}
    async with Tunnel(table) as supervised:
        info = await supervised.start()
        assert "not to port 3000" in info.details["warning"]
        health = await supervised.health_check()
        assert health.verdict == "degraded"
        local = health.check("local")
        assert local is not None
        assert "correct the route in Cloudflare's dashboard" in local.detail


async def test_a_short_connect_timeout_of_the_tunnel_gives_the_reason(stand_in: StandIn) -> None:
    stand_in.plan({"play": ["d06-port-7844-blocked-auto-text", 0]})
    table = {
        "connect_timeout": 2,
        "reconnect": {"enabled": False},
        "cloudflare": {"program": str(stand_in.program)},
    }
    async with Tunnel(table) as supervised:
        with pytest.raises(ConnectError, match="UDP and TCP to port 7844"):
            await supervised.start()
