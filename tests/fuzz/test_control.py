"""The control socket: whatever one side sends, the other refuses it or understands it."""

from __future__ import annotations

import json
import socket
from typing import Any

import anyio
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prx_tunnel_core._control import client, protocol
from prx_tunnel_core._control.operations import OPERATIONS
from prx_tunnel_core._hosting import FOREIGN_ANSWER
from prx_tunnel_core.models import (
    Reconnecting,
    health_from_json,
    health_to_json,
    status_from_json,
    status_to_json,
)
from support.fuzz import fuzz

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)


def mostly(valid: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return valid | valid | valid | JSON


REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "v": mostly(st.just(1)),
        "op": mostly(st.sampled_from([*OPERATIONS])),
        "as": mostly(st.sampled_from(protocol.FORMS)),
        "x": JSON,
    },
)
LINES = st.binary() | (REQUESTS | JSON).map(lambda request: json.dumps(request).encode())


@fuzz
@given(LINES)
def test_a_request_is_understood_or_refused(line: bytes) -> None:
    try:
        op, form = protocol.parse(line, OPERATIONS)
    except ValueError:
        return
    request = json.loads(line)
    assert (op, form) == (request["op"], request.get("as", "text"))
    assert op in OPERATIONS
    assert form in protocol.FORMS


@fuzz
@given(st.lists(st.binary(max_size=200) | st.just(b"\n"), max_size=6))
def test_a_line_is_read_as_it_was_sent(chunks: list[bytes]) -> None:
    sent = b"".join(chunks)

    async def read() -> bytes:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            for chunk in chunks:
                ours.sendall(chunk)
            ours.shutdown(socket.SHUT_WR)
            return await protocol.read_line(theirs)

    if b"\n" in sent:
        assert anyio.run(read) == sent.partition(b"\n")[0]
    else:
        try:
            anyio.run(read)
        except ValueError:
            return
        raise AssertionError("a request without its end was accepted")


WORDS = st.sampled_from(
    [b"prx-tunnel/1", b"prx-tunnel/2", b" ", b"\n", b"0", b"4", b"9" * 5000, b"-1", b"wait", b"{}"]
)


@fuzz
@given(st.lists(WORDS | st.binary(max_size=9), max_size=12).map(b"".join))
def test_a_client_makes_something_of_every_reply(reply: bytes) -> None:
    assume(b"ending" not in reply)  # it waits for the end of that process, which is this one
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(reply)
        theirs.shutdown(socket.SHUT_WR)
        result = client._converse(ours, "status", "default", "json")
    assert 0 <= result.code <= 999
    assert isinstance(result.text, str)


INFO = st.fixed_dictionaries(
    {
        "public_url": mostly(st.just("https://a.example.com")),
        "backend": mostly(st.just("custom")),
        "local_port": mostly(st.integers(1, 65535)),
        "started_at": mostly(st.just("2026-01-31T12:00:00+00:00")),
    }
)
STATES = ("idle", "connecting", "connected", "reconnecting", "stopped", "error")
STATUSES = st.fixed_dictionaries(
    {
        "name": st.just("default"),
        "state": mostly(st.sampled_from(STATES)),
        "info": mostly(INFO),
        "attempt": mostly(st.integers(0, 9)),
        "message": mostly(st.text(max_size=9)),
    },
    optional={
        "retry_in": mostly(st.integers(0, 9)),
        "details": mostly(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)),
        "visitor_headers": mostly(st.just({"always": ["x-a"], "address": "x-a"})),
    },
)


@fuzz
@given(STATUSES | JSON)
def test_an_answer_of_another_version_is_a_status_or_one_of_three_errors(wire_form: Any) -> None:
    try:
        status = status_from_json(wire_form)
    except FOREIGN_ANSWER:
        return
    again = status_from_json(json.loads(json.dumps(status_to_json("default", status, pid=1))))
    assert again == status


CHECKS = st.fixed_dictionaries(
    {"name": st.text(max_size=5), "verdict": st.sampled_from(["ok", "fail"]), "detail": st.text()}
)
HEALTHS = st.fixed_dictionaries(
    {
        "verdict": mostly(st.sampled_from(["healthy", "degraded", "unhealthy"])),
        "checks": mostly(st.lists(mostly(CHECKS), max_size=2)),
        "latency": mostly(st.none() | st.floats(0, 9)),
        "checked_at": mostly(st.just("2026-01-31T12:00:00+00:00")),
    }
)


@fuzz
@given(HEALTHS | JSON)
def test_so_is_health(wire_form: Any) -> None:
    try:
        health = health_from_json(wire_form)
    except FOREIGN_ANSWER:
        return
    assert health_from_json(json.loads(json.dumps(health_to_json(health)))) == health


GOOD_HEALTH = {
    "verdict": "healthy",
    "checks": [{"name": "edge", "verdict": "ok", "detail": "4"}],
    "latency": 0.25,
    "checked_at": "2026-01-31T12:00:00+00:00",
}


@pytest.mark.parametrize(
    "changed",
    [
        {"verdict": "superb"},
        {"verdict": float("nan")},
        {"checks": [{"name": "edge", "verdict": "green", "detail": ""}]},
        {"checks": [{"name": 1, "verdict": "ok", "detail": ""}]},
        {"checks": [{"name": "edge", "verdict": "ok", "detail": float("nan")}]},
        {"checks": [{"name": "edge", "verdict": "ok", "more": ""}]},
        {"latency": float("nan")},
        {"latency": -1},
        {"latency": 10**400},
        {"latency": "fast"},
    ],
)
def test_a_health_that_this_version_does_not_know_is_refused(changed: dict[str, Any]) -> None:
    assert health_from_json(GOOD_HEALTH).latency == 0.25
    with pytest.raises((TypeError, ValueError)):
        health_from_json({**GOOD_HEALTH, **changed})


@pytest.mark.parametrize("retry_in", [float("nan"), -1, 10**400, "soon", None])
def test_a_pause_that_nobody_can_wait_for_is_refused(retry_in: object) -> None:
    wire = {"state": "reconnecting", "attempt": 1, "message": "gone", "retry_in": 2.5}
    assert status_from_json(wire) == Reconnecting(1, "gone", 2.5)
    with pytest.raises((TypeError, ValueError)):
        status_from_json({**wire, "retry_in": retry_in})
