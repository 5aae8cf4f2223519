"""Every recording of the real agent, unedited, through the state machine and the classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from prx_tunnel_ngrok.log import AgentLog
from prx_tunnel_ngrok.reasons import Treatment, explain, words

from prx_tunnel_core.backend import Target

if TYPE_CHECKING:
    from conftest import Recording

URL = "https://abcd-203-0-113-7.ngrok-free.app"
P, L, T = Treatment.PERMANENT, Treatment.LIMITED, Treatment.TRANSIENT


@dataclass(frozen=True)
class Read:
    """What is to be read from a recording."""

    exit: str
    url: str | None = None
    connected: bool = False
    losses: int = 0
    code: int | None = None
    treatment: Treatment | None = None
    page: str | None = "127.0.0.1:4040"
    death: str = ""
    error: str = ""


def up(exit_code: str, page: str | None = "127.0.0.1:4040", losses: int = 0) -> Read:
    return Read(exit_code, url=URL, connected=True, page=page, losses=losses)


EXPECTED = {
    "01-success": up("0"),
    "06-SIGHUP": up("-1"),
    "06-SIGINT": up("0"),
    "06-SIGKILL": up("-9"),
    "07-auth-105": Read("1", code=105, treatment=P, death="does not look like a proper"),
    "07-auth-107": Read("1", code=107, treatment=P, death="properly formed, but it is invalid"),
    "07-auth-108": Read("1", code=108, treatment=L, death="Your account is limited to 1"),
    "07-auth-121": Read("1", code=121, treatment=P, death='version "2.3.41" is too old'),
    "07-auth-128": Read("1", code=128, treatment=T, death="Something went wrong. Please try"),
    "07-auth-4018": Read("1", code=4018, treatment=P, death="requires a verified account"),
    "08-bind-319": Read("1", code=319, treatment=P, death="must reserve a custom hostname"),
    "08-bind-334": Read("1", code=334, treatment=L, death="is already online. Either 1. stop"),
    "10-server-unreachable": Read("0", error="the way out is closed"),
    "11-tls-untrusted": Read("0", error="intercepts TLS connections"),
    "12-auth-hangs": Read("0"),
    "13-web-port-busy-explicit": Read("1", page=None, death="bind: address already in use"),
    "14-web-port-busy-default": up("0", page="127.0.0.1:4041"),
    "15-web-addr-false": up("0", page=None),
    "16-web-addr-port0": up("0", page="127.0.0.1:0"),
    "17-reconnect": Read("0", url=URL, losses=3, code=107, treatment=P, error="it is invalid"),
    "19-heartbeat-stops": up("0", losses=1),
    "21-cli-errors#1": Read("1", page=None, death="You must specify a single argument"),
    "21-cli-errors#2": Read("0"),  # it forwards to another port than ours
    "21-cli-errors#3": Read("0", page=None, death="flag provided but not defined: -nosuch"),
    "21-cli-errors#4": Read("1", page=None, death="Tunnel 'nosuch' is not defined"),
    "21-cli-errors#5": Read("1", page=None, death="Unrecognized command: nosuchcmd"),
    "22-bad-config#1": Read("None", error="ngrok's host name does not resolve"),
    "22-bad-config#2": Read("1", page=None, death="missing.yml: no such file", error="no records"),
    "23-logfmt": Read("0", page=None, death="t=2026"),  # plain text is never believed
    "24-no-log-flag": Read("0", page=None),
    "25-no-authtoken": up("0"),
    "26-start-none": Read("0"),  # a tunnel that somebody asked for by the local API
    "29-two-agents#1": up(""),
    "29-two-agents#2": Read("0", page="127.0.0.1:4041"),
}


def test_no_recording_is_left_out(recordings: dict[str, Recording]) -> None:
    assert set(recordings) == set(EXPECTED)
    assert sum(len(recording.lines) for recording in recordings.values()) > 400


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recording_says(name: str, recordings: dict[str, Recording]) -> None:
    recording, expected = recordings[name], EXPECTED[name]
    log = AgentLog(Target("127.0.0.1", 3000), lambda: 0.0)
    for line in recording.lines:
        log.feed(line)
    refusal = log.refusal
    assert recording.exit == expected.exit
    assert log.url == expected.url
    assert log.connected is expected.connected
    assert log.losses == expected.losses
    assert (refusal.code if refusal else None) == expected.code
    assert (refusal.treatment if refusal else None) is expected.treatment
    assert log.inspector == expected.page
    assert expected.death in words(log.death())
    assert bool(expected.death) is bool(log.death())
    assert expected.error in explain(log.error)


def test_the_echoed_token_is_in_no_reason(recordings: dict[str, Recording]) -> None:
    for name, token in {"07-auth-105": "bad", "07-auth-107": "x"}.items():
        log = AgentLog(Target("127.0.0.1", 3000), lambda: 0.0)
        for line in recordings[name].lines:
            log.feed(line)
        for text in (words(log.death()), log.error, str(log.refusal)):
            assert "Your authtoken: **********" in text
            assert f"authtoken: {token}" not in text


def test_a_session_comes_and_goes_as_it_did(recordings: dict[str, Recording]) -> None:
    log = AgentLog(Target("127.0.0.1", 3000), lambda: 0.0)
    seen: list[bool] = []
    for line in recordings["17-reconnect"].lines:
        log.feed(line)
        if not seen or seen[-1] is not log.connected:
            seen.append(log.connected)
    # Up, aborted and back, gone for 20 s and back, and refused for good.
    assert seen == [False, True, False, True, False, True, False]
