"""A tunnel that is up, until it is not."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from prx_tunnel_ngrok.connect import connect
from prx_tunnel_ngrok.connection import Patience, RunningAgent
from prx_tunnel_ngrok.log import AgentLog

from prx_tunnel_core.backend import Connection, Target

if TYPE_CHECKING:
    from conftest import StandIn

pytestmark = pytest.mark.anyio

EOF_OF_PEER = ["lose", "read EOF from remote peer"]
GO = ["gate", "go"]


async def verdicts(connection: Connection) -> dict[str, str]:
    return {check.name: check.verdict for check in await connection.check()}


async def until(connection: Connection, condition: Callable[[AgentLog], object]) -> None:
    """Wait until the agent's log says so."""
    assert isinstance(connection, RunningAgent)
    with anyio.fail_after(20):
        await connection._until(lambda: bool(condition(connection.log)))
    assert not connection._ended


async def said(connection: Connection) -> str:
    return "; ".join([check.detail for check in await connection.check()])


def lost(log: AgentLog) -> bool:
    return not log.session


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([["exit", 1]], "ngrok exited with code 1"),
        ([["exit", 0]], "ngrok exited with code 0"),
        (["remote_stop"], "the agent was stopped from ngrok's dashboard"),
        ([EOF_OF_PEER, ["retry_refused", "107"]], "ERR_NGROK_107"),
        ([EOF_OF_PEER, ["retry_refused", "334"]], "ERR_NGROK_334"),
        ([["refuse_auth", "4018"]], "requires a verified account"),
    ],
)
async def test_it_drops_and_says_why(
    standin: StandIn, target: Target, steps: list[Any], reason: str
) -> None:
    standin.does(["connect", GO, *steps])
    async with connect(standin.config(), target, Patience(refused=0.1)) as connection:
        standin.open("go")
        with anyio.fail_after(20):
            assert reason in await connection.wait_closed()


async def test_a_signal_is_named(standin: StandIn, target: Target) -> None:
    async with connect(standin.config(), target) as connection:
        os.kill(standin.runs()[0].pid, signal.SIGKILL)
        with anyio.fail_after(20):
            assert "SIGKILL" in await connection.wait_closed()


async def test_the_agents_own_reconnecting_is_left_to_it(standin: StandIn, target: Target) -> None:
    standin.does(
        ["connect", GO, EOF_OF_PEER, ["retry", "dial tcp: refused"], ["gate", "back"], "resume"]
    )
    async with connect(standin.config(), target) as connection:
        standin.open("go")
        await until(connection, lost)
        assert await verdicts(connection) == {"session": "unknown", "agent": "unknown"}
        assert "the agent has been reconnecting for 0 s" in await said(connection)
        with anyio.move_on_after(0.05) as waiting:
            await connection.wait_closed()
        assert waiting.cancelled_caught
        standin.open("back")
        await until(connection, lambda log: log.connected)
        assert await verdicts(connection) == {"session": "ok", "agent": "ok"}
        assert "reconnected once" in await said(connection)


async def test_a_loss_that_lasts_is_a_failure(standin: StandIn, target: Target) -> None:
    standin.does(["connect", GO, EOF_OF_PEER])
    async with connect(standin.config(), target, Patience(recovery=0.0)) as connection:
        standin.open("go")
        await until(connection, lost)
        assert (await verdicts(connection))["session"] == "fail"
        assert "read EOF from remote peer" in await said(connection)


async def test_a_refusal_that_ends_in_time_drops_nothing(standin: StandIn, target: Target) -> None:
    standin.does(["connect", GO, EOF_OF_PEER, ["retry_refused", "108"], "resume"])
    async with connect(standin.config(), target, Patience(refused=20)) as connection:
        standin.open("go")
        await until(connection, lambda log: log.losses and log.connected)
        with anyio.move_on_after(0.1) as waiting:
            await connection.wait_closed()
        assert waiting.cancelled_caught


async def test_a_transient_code_is_left_to_the_agent(standin: StandIn, target: Target) -> None:
    standin.does(["connect", GO, EOF_OF_PEER, ["retry_refused", "6000"]])
    async with connect(standin.config(), target, Patience(refused=0.01)) as connection:
        standin.open("go")
        await until(connection, lambda log: log.refusal)
        asked = 0

        def count() -> float:
            nonlocal asked
            asked += 1
            return left()

        assert isinstance(connection, RunningAgent)
        left, connection._patience_left = connection._patience_left, count  # type: ignore[method-assign]
        with anyio.move_on_after(0.1) as waiting:
            await connection.wait_closed()
        assert waiting.cancelled_caught
        assert asked < 10  # it waits, it does not spin


async def test_a_frozen_agent_is_found_out(
    standin: StandIn, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_ngrok.connection.ANSWER", 0.2)
    async with connect(standin.config(), target) as connection:
        pid = standin.runs()[0].pid
        os.kill(pid, signal.SIGSTOP)
        # Until all of its threads have stopped.
        await anyio.to_thread.run_sync(os.waitid, os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        assert await verdicts(connection) == {"session": "ok", "agent": "fail"}
        assert "its local API does not answer: " in await said(connection)


async def test_what_the_local_api_lists_counts_for_nothing(
    standin: StandIn, target: Target
) -> None:
    standin.does(["connect", GO, EOF_OF_PEER])
    async with connect(standin.config(), target, Patience(recovery=0.0)) as connection:
        standin.open("go")
        await until(connection, lost)
        page = connection.details["inspector"].removeprefix("http://")
        listed = await anyio.to_thread.run_sync(get, page, "/api/tunnels")
        assert connection.public_url in listed  # it still lists what is gone
        assert (await verdicts(connection))["session"] == "fail"


async def test_a_tunnel_started_by_others_changes_nothing(standin: StandIn, target: Target) -> None:
    async with connect(standin.config(), target) as connection:
        before = connection.public_url
        page = connection.details["inspector"].removeprefix("http://")
        body = '{"name": "other", "addr": "3000", "hostname": "other.example.com"}'
        await anyio.to_thread.run_sync(get, page, "/api/tunnels", "POST", body)
        assert await verdicts(connection) == {"session": "ok", "agent": "ok"}
        assert connection.public_url == before


async def test_a_visitor_at_a_closed_local_port(standin: StandIn, target: Target) -> None:
    standin.does(["connect", "visitor"])
    async with connect(standin.config(), target) as connection:
        await until(connection, lambda log: log.unreachable_target)
        assert "a request found the local port closed" in await said(connection)
        assert (await verdicts(connection))["session"] == "ok"


def get(address: str, path: str, method: str = "GET", body: str | None = None) -> str:
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, body=body)
        return connection.getresponse().read().decode()
    finally:
        connection.close()
