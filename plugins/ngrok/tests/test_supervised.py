"""The backend under the life cycle of core: what a user sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from prx_tunnel_core import Failed, Reconnecting, SetupError, Tunnel
from prx_tunnel_core.errors import unwrap

if TYPE_CHECKING:
    from conftest import StandIn

pytestmark = pytest.mark.anyio

URL = "https://abcd-203-0-113-7.ngrok-free.app"


def tunnel(standin: StandIn, **settings: Any) -> Tunnel:
    return Tunnel(
        {
            "backend": "ngrok",
            "local_port": 3000,
            "health_check_url": False,
            "reconnect": {"backoff_base_ms": 1, "backoff_max_ms": 1},
            "ngrok": {"program": str(standin.program), **settings},
        }
    )


async def test_it_is_found_by_its_name(standin: StandIn) -> None:
    async with tunnel(standin, authtoken="token-token") as running:
        info = await running.start()
        assert info.public_url == URL
        assert info.backend == "ngrok"
        assert set(info.details) == {"agent", "inspector"}
        health = await running.health_check()
        provider = health.check("provider")
        assert provider is not None
        assert provider.verdict == "ok"
        await running.stop()
    assert len(standin.runs()) == 1


async def test_a_token_that_is_revoked_while_connected_ends_it(standin: StandIn) -> None:
    lost = ["lose", "read EOF from remote peer"]
    standin.does(
        ["connect", ["gate", "go"], lost, ["retry_refused", "107"]], [["refuse_auth", "107"]]
    )
    async with tunnel(standin, authtoken="token-token") as running:
        await running.start()
        seen = []
        statuses = running.watch()
        standin.open("go")
        with anyio.fail_after(20):
            async for status in statuses:
                seen.append(status)
                if isinstance(status, Failed):
                    break
    dropped = [status for status in seen if isinstance(status, Reconnecting)]
    assert "ERR_NGROK_107" in dropped[0].reason
    assert isinstance(seen[-1], Failed)
    assert "set tunnel.ngrok.authtoken" in seen[-1].message
    assert len(standin.runs()) == 2  # the agent itself would have tried for ever


async def test_a_refusal_at_first_is_never_retried(standin: StandIn) -> None:
    standin.does([["refuse_auth", "4018"]])
    async with tunnel(standin) as running:
        with pytest.raises(SetupError, match="requires a verified account") as caught:
            await running.start()
    assert isinstance(unwrap(caught.value), SetupError)
    assert len(standin.runs()) == 1
