"""How long a program that announces nothing is waited for, from both sides, in virtual time."""

from __future__ import annotations

import math
from typing import Any, NoReturn, cast

import anyio
import pytest
import trio.testing
from prx_tunnel_custom import connect
from prx_tunnel_custom.config import CustomConfig

from prx_tunnel_core import Target
from prx_tunnel_core.config import validate
from prx_tunnel_core.process import TunnelProcess


class Seen(Exception):
    pass


class Silent:
    async def first_match(self, find: object) -> None:
        await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("patience", "taken"), [(math.inf, 2.0), (60.0, 2.0), (4.0, 1.8), (3.0, 1.35)]
)
def test_it_is_up_after_two_seconds_or_half_of_the_time_left(patience: float, taken: float) -> None:
    table = {"command": "bore local {port}", "public_url": "https://a.example.com"}
    config = validate(CustomConfig, table, path="tunnel.custom")
    process = cast("TunnelProcess", Silent())

    async def settle() -> tuple[str, float]:
        begun = trio.current_time()
        with trio.move_on_after(patience):
            url = await connect._public_url(config, process, Target("127.0.0.1", 3000))
        return url, trio.current_time() - begun

    clock: Any = trio.testing.MockClock(autojump_threshold=0)
    url, seconds = trio.run(settle, clock=clock)
    assert url == "https://a.example.com"
    assert seconds == pytest.approx(taken)


@pytest.mark.anyio
@pytest.mark.parametrize(("table", "grace"), [({}, 5.0), ({"stop_grace": 30}, 30.0)])
async def test_the_program_has_the_grace_of_the_configuration(
    table: dict[str, Any], grace: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_process(*_: Any, **options: Any) -> NoReturn:
        raise Seen(options["grace"])

    monkeypatch.setattr(connect, "open_process", open_process)
    table = {"command": "bore local {port}", "public_url": "https://a.example.com", **table}
    config = validate(CustomConfig, table, path="tunnel.custom")
    with pytest.raises(Seen) as seen:
        async with connect.connect(config, Target("127.0.0.1", 3000)):
            pass
    assert seen.value.args == (grace,)
