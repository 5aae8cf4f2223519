"""How long the agent may take to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from prx_tunnel_ngrok import connection
from prx_tunnel_ngrok.connect import connect

from prx_tunnel_core import Target

if TYPE_CHECKING:
    from conftest import StandIn


class Seen(Exception):
    pass


@pytest.mark.anyio
async def test_the_agent_has_five_seconds_and_is_asked_by_term(
    standin: StandIn, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_process(*_: Any, **options: Any) -> NoReturn:
        raise Seen(options["grace"], options.get("stop_signals"))

    monkeypatch.setattr(connection, "open_process", open_process)
    with pytest.raises(Seen) as seen:
        async with connect(standin.config(), target):
            pass
    assert seen.value.args == (5.0, None)
