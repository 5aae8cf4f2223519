"""A tunnel that Cloudflare refuses: over QUIC the log does not say why, so it is found out."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from cloudflare_kit.installed import StandIn
from prx_tunnel_cloudflare import readiness
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.connect import connect

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import ConnectError, SetupError

pytestmark = pytest.mark.anyio

Configure = Callable[..., CloudflareConfig]
SILENT = {"play": ["c04-unauthorized-secret-text", 0]}
LOUD = {"play": ["c04-unauthorized-secret-http2-text", 0]}


@pytest.fixture(autouse=True)
def _believed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "REFUSED_FOR", 0.0)
    monkeypatch.setattr(readiness, "LOOK_EVERY", 0.01)


async def test_bad_token_over_quic(
    stand_in: StandIn, configure: Configure, target: Target, token: str
) -> None:
    stand_in.plan(SILENT, LOUD)
    with pytest.raises(SetupError, match=r"Unauthorized: Invalid tunnel secret.*copy the token"):
        async with connect(configure(token=token), target):
            pytest.fail("not connected")
    first, second = stand_in.runs
    assert first.env["TUNNEL_TRANSPORT_PROTOCOL"] == "auto"
    assert second.env["TUNNEL_TRANSPORT_PROTOCOL"] == "http2"
    # One after the other: two connectors of one tunnel would share its traffic.
    assert stand_in.log(0)[-1] == stand_in.log(1)[-1] == "exit 0"


async def test_bad_token_over_http2(
    stand_in: StandIn, configure: Configure, target: Target, token: str
) -> None:
    stand_in.plan(LOUD)
    with pytest.raises(SetupError, match="Unauthorized: Invalid tunnel secret"):
        async with connect(configure(token=token, protocol="http2"), target):
            pytest.fail("not connected")
    assert len(stand_in.runs) == 1


async def test_another_reason_may_pass(
    stand_in: StandIn, configure: Configure, target: Target, token: str
) -> None:
    stand_in.plan(SILENT, {"play": ["c05-register-error-retryable-http2", 0]})
    with pytest.raises(ConnectError, match=r"Failed to get tunnel \(made-up transient error\)"):
        async with connect(configure(token=token), target):
            pytest.fail("not connected")


async def test_http2_is_accepted(
    stand_in: StandIn, configure: Configure, target: Target, token: str
) -> None:
    stand_in.plan(SILENT, {})
    with pytest.raises(ConnectError, match='protocol = "http2"'):
        async with connect(configure(token=token), target):
            pytest.fail("not connected")


async def test_no_reason_anywhere(
    stand_in: StandIn, configure: Configure, target: Target, token: str
) -> None:
    stand_in.plan(SILENT, {"play": ["b04-quick-api-refused", 0]})
    with pytest.raises(ConnectError, match=r"api\.trycloudflare\.com cannot be reached"):
        async with connect(configure(token=token), target):
            pytest.fail("not connected")
    stand_in.plan(SILENT)
    with pytest.raises(ConnectError, match="does not say why"):
        async with connect(configure(token=token), target):
            pytest.fail("not connected")


async def test_a_quick_tunnel_is_not_run_again(
    stand_in: StandIn, configure: Configure, target: Target
) -> None:
    """It would cost another quick tunnel, of which one address may make few."""
    stand_in.plan(SILENT)
    with pytest.raises(ConnectError, match="quick tunnel that it has just made"):
        async with connect(configure(), target):
            pytest.fail("not connected")
    assert len(stand_in.runs) == 1


async def test_the_same_edge_server_twice_is_no_refusal(
    stand_in: StandIn, configure: Configure, target: Target, token: str
) -> None:
    """EDUPCONN: cloudflared asks another server. The log reads the same, the metric does not."""
    stand_in.plan({**SILENT, "refused as": "dup_edge_conn"})
    with pytest.raises(ConnectError), anyio.fail_after(0.8):
        async with connect(configure(token=token), target):
            pytest.fail("not connected")
    assert len(stand_in.runs) == 1


async def test_refused_at_first_and_then_accepted(
    stand_in: StandIn,
    configure: Configure,
    target: Target,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new tunnel is refused for moments, while it spreads through Cloudflare's network."""
    monkeypatch.setattr(readiness, "REFUSED_FOR", 5.0)
    stand_in.plan({"play": ["c05-register-error-permanent-quic", 0]})
    config = configure(token=token, hostname="app.example.com")
    async with connect(config, target) as connection:
        assert connection.public_url == "https://app.example.com"
    assert len(stand_in.runs) == 1
