"""The round trip of a keepalive, which needs a private function of the installed asyncssh."""

from __future__ import annotations

import asyncio

import asyncssh
import pytest
from prx_tunnel_ssh.transport import round_trip
from ssh_programs import PATIENCE, StandaloneRelay

pytestmark = pytest.mark.anyio


async def test_a_keepalive_has_a_round_trip_time_when_it_is_answered_in_time(
    relay: StandaloneRelay,
) -> None:
    async with (
        relay.here(),
        asyncio.timeout(PATIENCE),
        asyncssh.connect(
            "127.0.0.1", relay.port, username="x", client_keys=[str(relay.client_key)],
            known_hosts=None, config=None, agent_path=None,
        ) as connection,
    ):  # fmt: skip
        seconds = await round_trip(connection, timeout=PATIENCE)
        assert seconds is not None
        assert 0 < seconds < PATIENCE
        assert await round_trip(connection, timeout=0) is None
