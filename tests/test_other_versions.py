"""A tunnel that another version of prx runs: nothing is guessed about it, in either direction."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from prx_tunnel_core import Failed, TunnelError, _hosting
from prx_tunnel_core._control import protocol
from prx_tunnel_core._hosting import host_tunnel
from support.memory import Memory
from support.virtual import isolate_hosts, no_plugins

STATUS = {
    "name": "default", "state": "connected", "pid": 7, "public_url": "https://a.example.com",
    "backend": "memory", "local_port": 3000, "started_at": "2026-11-28T09:00:00+00:00",
}  # fmt: skip
ANSWERS: dict[str, Any] = {
    "nothing": {},
    "no state": {key: value for key, value in STATUS.items() if key != "state"},
    "an unknown state": STATUS | {"state": "dreaming"},
    "no time": STATUS | {"started_at": "yesterday"},
    "a list": [STATUS],
    "a number": 7,
    "nothing at all": None,
}


@pytest.mark.anyio
@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_is_not_understood_is_a_failure_and_opens_no_second_tunnel(
    answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(op: str, *, name: str) -> Any:
        return answer

    monkeypatch.setattr(_hosting, "ask", ask)
    isolate_hosts(monkeypatch)
    unused = Memory()
    config = {"backend": "memory"}
    running = host_tunnel(config, backend=Memory().backend(), plugins=no_plugins())
    async with running as ours:
        await ours.first_outcome()
        async with host_tunnel(config, backend=unused.backend(), plugins=no_plugins()) as tunnel:
            with anyio.fail_after(20), pytest.raises(TunnelError, match="another version of prx"):
                await tunnel.first_outcome()
            assert tunnel.attached
            assert tunnel.status == Failed("the tunnel is run by another version of prx")
    assert unused.attempts == 0


@pytest.mark.parametrize("version", [0, 2, -1, True, 1.0, "1", None, [1]])
def test_a_request_of_another_protocol_is_refused_with_ours(version: object) -> None:
    line = json.dumps({"v": version, "op": "status"}).encode()
    with pytest.raises(ValueError, match="version 1 of this protocol; restart the tunnel"):
        protocol.parse(line, {"status": None})


def test_a_request_of_this_protocol_is_not() -> None:
    request = protocol.parse(b'{"v": 1, "op": "status", "as": "json"}', {"status": None})
    assert request == ("status", "json")
    assert protocol.parse(b'{"v": 1, "op": "status"}', {"status": None}) == ("status", "text")
    assert protocol.header(4) == b"prx-tunnel/1 4\n"
    assert protocol.header(0, ending=True) == b"prx-tunnel/1 0 ending\n"
