"""The backend as a host uses it: found by its name, supervised, checked, stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import pytest
from tailscale_standin import HOST, StandIn

from prx_tunnel_core import (
    Connected,
    ConnectError,
    Failed,
    Reconnecting,
    SetupError,
    Tunnel,
    TunnelStatus,
)

pytestmark = pytest.mark.anyio


def table(node: StandIn, **settings: object) -> dict[str, object]:
    return {
        "backend": "tailscale",
        "health_check_url": False,
        "reconnect": {"backoff_base_ms": 1, "backoff_max_ms": 1},
        "tailscale": {"program": str(node.program), **settings},
    }


@pytest.mark.parametrize("background", [False, True])
async def test_start_health_and_stop(background: bool, node: StandIn) -> None:
    async with Tunnel(table(node, background=background)) as tunnel:
        info = await tunnel.start()
        assert info.public_url == f"https://{HOST}"
        provider = (await tunnel.health_check()).check("provider")
        assert provider is not None
        assert provider.verdict == "ok"
        await tunnel.stop()
        assert node.served == {}


async def test_it_reconnects_when_its_session_ends(node: StandIn) -> None:
    async with Tunnel(table(node)) as tunnel:
        await tunnel.start()
        statuses = until_connected_again(tunnel)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.to_thread.run_sync, node.run, "funnel", "reset")
                seen = [type(status) async for status in statuses]
        assert Reconnecting in seen
        assert len(node.served["Foreground"]) == 1


async def until_connected_again(tunnel: Tunnel) -> AsyncIterator[TunnelStatus]:
    statuses = tunnel.watch()
    await anext(statuses)  # the current status
    async for status in statuses:
        yield status
        if isinstance(status, Connected):
            return


async def test_what_a_person_must_fix_is_not_retried(node: StandIn) -> None:
    node.status(BackendState="Stopped")
    async with Tunnel(table(node)) as tunnel:
        with pytest.raises(SetupError, match="sudo tailscale up"):
            await tunnel.start()
        assert isinstance(tunnel.status, Failed)
    assert len([call for call in node.calls if call[0] == "status"]) == 1


@pytest.mark.parametrize(
    ("command", "reason"),
    [("version", "did not answer `version --json` within "), ("status", "did not answer `status ")],
)
async def test_a_short_connect_timeout_of_the_tunnel_gives_the_reason(
    command: str, reason: str, node: StandIn
) -> None:
    node.fault(hang=[command])
    given = {**table(node), "connect_timeout": 2, "reconnect": {"enabled": False}}
    async with Tunnel(given) as tunnel:
        with pytest.raises(ConnectError, match=reason):
            await tunnel.start()
