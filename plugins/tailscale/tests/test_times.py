"""How long a session in the foreground may take to end."""

from __future__ import annotations

import signal
from typing import Any, NoReturn

import pytest
from prx_tunnel_tailscale import foreground
from prx_tunnel_tailscale.connect import connect
from tailscale_standin import StandIn

from prx_tunnel_core import Target


class Seen(Exception):
    pass


@pytest.mark.anyio
async def test_it_has_three_seconds_and_is_interrupted_first(
    node: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_process(*_: Any, **options: Any) -> NoReturn:
        raise Seen(options["grace"], options["stop_signals"])

    monkeypatch.setattr(foreground, "open_process", open_process)
    with pytest.raises(Seen) as seen:
        async with connect(node.config(), Target("127.0.0.1", 3000)):
            pass
    assert seen.value.args == (3.0, (signal.SIGINT, signal.SIGTERM))
