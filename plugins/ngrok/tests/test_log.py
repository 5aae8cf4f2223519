"""What the recordings do not show: version 3, and lines about something else."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from prx_tunnel_ngrok.connection import session
from prx_tunnel_ngrok.log import AgentLog

from prx_tunnel_core.backend import Target

URL = "https://my-agent.ngrok-free.app"


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> AgentLog:
    return AgentLog(Target("127.0.0.1", 3000), clock)


def tell(log: AgentLog, msg: str, **fields: object) -> None:
    log.feed(json.dumps({"lvl": "info", "msg": msg, **fields}))


def come_up(log: AgentLog, url: str = URL) -> None:
    tell(log, "client session established", obj="tunnels.session")
    tell(log, "tunnel session started", obj="tunnels.session")
    tell(log, "started tunnel", name="command_line", addr="http://127.0.0.1:3000", url=url)


def lose(log: AgentLog, err: str = "read EOF from remote peer") -> None:
    tell(log, "session closed, starting reconnect loop", err=err)


def test_connected_is_a_session_and_an_announced_tunnel(log: AgentLog) -> None:
    tell(log, "client session established")
    assert not log.connected
    tell(log, "started tunnel", name="command_line", addr="http://127.0.0.1:3000", url=URL)
    assert log.connected
    assert log.url == URL


@pytest.mark.parametrize(
    "addr", ["http://127.0.0.1:3000", "http://localhost:3000", "https://[::1]:3000"]
)
def test_our_target_is_known_by_its_port(log: AgentLog, addr: str) -> None:
    tell(log, "started tunnel", name="command_line", addr=addr, url=URL)
    assert log.url == URL


def test_a_reconnect_announces_nothing_and_keeps_the_url(log: AgentLog, clock: Clock) -> None:
    come_up(log)
    lose(log)
    clock.now = 20
    tell(log, "failed to reconnect session", err="failed to dial ngrok server: refused")
    assert not log.connected
    tell(log, "client session established")
    assert log.connected
    assert log.url == URL
    assert log.losses == 1
    assert log.error == ""


def test_a_loss_counts_once_from_its_beginning(log: AgentLog, clock: Clock) -> None:
    come_up(log)
    for clock.now in (1, 2):
        lose(log)
    assert log.losses == 1
    assert log.lost_at == 1


def test_a_late_heartbeat_timeout_of_an_old_session_means_nothing(log: AgentLog) -> None:
    come_up(log)
    tell(log, "heartbeat timeout, terminating session", clientid="cid5", obj="csess")
    assert log.connected


def test_a_refusal_of_somebody_elses_request_is_not_ours(log: AgentLog) -> None:
    come_up(log)
    err = "The endpoint is already online.\r\n\r\nERR_NGROK_334\r\n"
    tell(log, "failed to start tunnel", err=err, pg="/api/tunnels", id="07f8ed9b1f21d1b7")
    assert log.connected
    assert log.refusal is None


def test_a_refusal_lasts_until_ngrok_says_yes_or_cannot_be_asked(
    log: AgentLog, clock: Clock
) -> None:
    come_up(log)
    lose(log)
    for clock.now in (1, 2, 3):
        tell(log, "failed to reconnect session", err="in use\r\n\r\nERR_NGROK_334\r\n")
    assert log.refused_at == 1
    tell(log, "failed to reconnect session", err="dial tcp: i/o timeout")
    assert log.refusal is None
    assert log.refused_at is None


def test_closing_because_we_said_so_is_no_failure(log: AgentLog) -> None:
    come_up(log)
    tell(log, "received stop request", obj="app", stopReq={})
    tell(log, "session closing", err="<nil>")
    assert log.error == ""
    assert log.refusal is None


def test_plain_error_lines_are_kept(log: AgentLog) -> None:
    for line in ("NAME:", "  http - start", "", "ERROR:  unknown flag: --url", "ERROR:  "):
        log.feed(line)
    assert log.death() == "ERROR:  unknown flag: --url\nERROR:"


def test_many_different_errors_do_not_pile_up(log: AgentLog) -> None:
    for number in range(1000):
        tell(log, "failed to reconnect session", err=f"error {number}")
    tell(log, "failed to reconnect session", err="error 7")
    assert log.error == "error 7"
    assert len(log._errors) == 50


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "{}",
        "[]",
        "null",
        "{" * 5000,
        '{"msg": 3}',
        '{"msg": ["started tunnel"]}',
        '{"msg": "session closing", "err": 3}',
        '{"msg": "session closing", "err": null}',
        '{"msg": "started tunnel", "name": {}, "addr": [], "url": 1}',
        '{"msg": "started tunnel", "name": "command_line", "addr": "http://[::1", "url": "x"}',
        '{"msg": "started tunnel", "name": "command_line", "addr": "http://h:99999", "url": "x"}',
        '{"msg": "starting web service", "addr": null}',
        '{"msg": "command failed"}',
        "\x00",
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_no_line_can_raise(log: AgentLog, line: str) -> None:
    log.feed(line)
    assert log.url is None
    assert log.refusal is None


def test_the_session_as_a_check(log: AgentLog, clock: Clock) -> None:
    come_up(log)
    assert session(log, 5).verdict == "ok"
    lose(log)
    check = session(log, 59.9)
    assert check.verdict == "unknown"  # the agent's own reconnecting is respected
    assert check.detail == "the agent has been reconnecting for 60 s: read EOF from remote peer"
    assert session(log, 60).verdict == "fail"
    clock.now = 61
    tell(log, "client session established")
    again = session(log, 62)
    assert (again.verdict, again.detail) == ("ok", "online; reconnected once")


def test_a_visitor_at_a_closed_local_port_is_told(log: AgentLog) -> None:
    come_up(log)
    err = "dial tcp 127.0.0.1:3000: connect: connection refused"
    tell(log, "failed to open private leg", err=err, privaddr="127.0.0.1:3000")
    check = session(log, 1)
    assert check.verdict == "ok"
    assert err in check.detail


def test_a_failure_counts_as_a_loss_only_of_what_was_up_and_from_the_first_one(
    log: AgentLog, clock: Clock
) -> None:
    tell(log, "failed to reconnect session", err="dial tcp: i/o timeout")
    assert log.lost_at is None  # it was never up
    come_up(log)
    for clock.now in (1.0, 5.0):
        tell(log, "failed to reconnect session", err="dial tcp: i/o timeout")
    assert log.lost_at == 1.0
