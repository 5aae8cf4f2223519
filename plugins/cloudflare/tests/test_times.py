"""How long cloudflared may take to end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from cloudflare_kit.installed import StandIn
from prx_tunnel_cloudflare import connector
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.connect import connect

from prx_tunnel_core import Target


class Seen(Exception):
    pass


@pytest.mark.anyio
async def test_it_has_its_own_grace_and_five_seconds_then_half_a_second_for_a_second_term(
    stand_in: StandIn,
    configure: Callable[..., CloudflareConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def open_process(*_: Any, **options: Any) -> NoReturn:
        raise Seen(options["grace"], options["stop_signals"])

    monkeypatch.setattr(connector, "open_process", open_process)
    with pytest.raises(Seen) as seen:
        async with connect(configure(grace_period=12), Target("127.0.0.1", 3000)):
            pass
    assert seen.value.args == (17.0, (signal.SIGTERM, signal.SIGTERM))
