"""Why a tunnel does not open, and whether trying again may help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from prx_tunnel_ngrok.connect import connect
from prx_tunnel_ngrok.connection import Patience

from prx_tunnel_core import Tunnel
from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import ConnectError, SetupError

if TYPE_CHECKING:
    from conftest import StandIn

pytestmark = pytest.mark.anyio

URL = "https://abcd-203-0-113-7.ngrok-free.app"
# Long enough for a loaded machine; what is waited for comes in milliseconds.
SOON = Patience(start=20, between_tries=(0.01, 0.01), refused=0.1)


@pytest.mark.parametrize(
    ("steps", "kind", "expected"),
    [
        ([["refuse_auth", "107"]], SetupError, "ERR_NGROK_107); set tunnel.ngrok.authtoken to"),
        ([["refuse_auth", "4018"]], SetupError, "requires a verified account"),
        ([["refuse_auth", "121"]], SetupError, "https://ngrok.com/download"),
        ([["refuse_bind", "319"]], SetupError, "tunnel.ngrok.domain must be one of"),
        ([["refuse_auth", "128"]], ConnectError, "Please try your request again later"),
        ([["refuse_auth", "9999"]], ConnectError, "No, and this is why not (ERR_NGROK_9999)"),
        # An agent that says so only in plain text, and one that does not end by itself.
        ([["print", "ERROR:  No.\nERROR:  ERR_NGROK_107"], ["exit", 1]], SetupError, "107); set"),
        ([["complain", "ERROR:  No.\nERROR:  ERR_NGROK_105"], ["exit", 1]], SetupError, "105)"),
        ([["retry_refused", "107"]], SetupError, "ngrok refuses: The authtoken"),
        ([["exit", 3]], ConnectError, "ngrok exited with code 3"),
        ([["exit", 0]], ConnectError, "ngrok exited with code 0"),
        ([["print", "oh no"], ["exit", 1]], ConnectError, "the agent ended: oh no"),
        (
            [["print", "ERROR:  unknown flag: --url"], ["exit", 1]],
            SetupError,
            "the agent does not start: unknown flag: --url",
        ),
        (
            [["print", "Incorrect Usage: flag provided but not defined: -url"], ["exit", 0]],
            SetupError,
            "flag provided but not defined",
        ),
        (["remote_stop"], ConnectError, "was stopped from ngrok's dashboard"),
        (["connect", ["exit", 1]], ConnectError, "ngrok exited with code 1"),
    ],
)
async def test_it_does_not_connect(
    standin: StandIn, target: Target, steps: list[Any], kind: type[Exception], expected: str
) -> None:
    standin.does(steps)
    with pytest.raises(kind) as caught:
        async with connect(standin.config(), target, SOON) as connection:
            raise ConnectError(await connection.wait_closed())
    assert expected in str(caught.value)
    assert standin.runs()[0].is_gone


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], "ngrok's service did not answer"),
        ([["retry", "x509: certificate signed by unknown authority"]], "intercepts TLS"),
    ],
)
async def test_an_agent_that_would_try_for_ever_is_given_up(
    standin: StandIn, target: Target, steps: list[Any], expected: str
) -> None:
    standin.does(steps)
    with pytest.raises(ConnectError) as caught:
        async with connect(standin.config(), target, Patience(start=0.4)):
            pass
    assert str(caught.value).startswith("not connected after 0.4 s: ")
    assert expected in str(caught.value)
    assert standin.runs()[0].is_gone


async def test_a_short_connect_timeout_of_the_tunnel_gives_the_reason(standin: StandIn) -> None:
    standin.does([["retry", "x509: certificate signed by unknown authority"]])
    table = {
        "backend": "ngrok",
        "connect_timeout": 3,
        "reconnect": {"enabled": False},
        "ngrok": {"program": str(standin.program)},
    }
    async with Tunnel(table) as tunnel:
        late = r"^not connected after [12][.\d]* s: .*intercepts TLS"
        with pytest.raises(ConnectError, match=late):
            await tunnel.start()


async def test_a_pause_that_outlasts_the_attempt_is_not_begun(
    standin: StandIn, target: Target
) -> None:
    standin.does([["refuse_bind", "334"]])
    patience = Patience(between_tries=(60,))
    with anyio.fail_after(20), pytest.raises(ConnectError, match=r"^ngrok refuses: .*334"):
        async with connect(standin.config(), target, patience):
            pass


async def test_our_own_last_agent_may_still_be_online_for_a_while(
    standin: StandIn, target: Target
) -> None:
    standin.does([["refuse_bind", "334"]], [["refuse_auth", "108"]], ["connect"])
    async with connect(standin.config(), target, SOON) as connection:
        assert connection.public_url == URL
    assert len(standin.runs()) == 3


@pytest.mark.parametrize(("code", "fix"), [("334", "tunnel.ngrok.pooling"), ("108", "/agents")])
async def test_somebody_elses_agent_stays_online(
    standin: StandIn, target: Target, code: str, fix: str
) -> None:
    standin.does([["refuse_bind", code]])
    with pytest.raises(SetupError) as caught:
        async with connect(standin.config(), target, SOON):
            pass
    assert str(caught.value).startswith("ngrok keeps refusing: ")
    assert fix in str(caught.value)
    assert len(standin.runs()) == 3


async def test_a_port_that_is_taken(standin: StandIn, target: Target, busy_port: int) -> None:
    with pytest.raises(ConnectError, match=r"set another tunnel.ngrok.inspector_port"):
        async with connect(standin.config(inspector_port=busy_port), target, SOON):
            pass
