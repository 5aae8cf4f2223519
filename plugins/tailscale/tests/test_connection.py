"""What a running program hides, and tailscaled tells."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prx_tunnel_tailscale import connection
from prx_tunnel_tailscale.config import TailscaleConfig
from prx_tunnel_tailscale.connect import connect
from prx_tunnel_tailscale.node import Node, parse_node
from prx_tunnel_tailscale.route import route_for
from prx_tunnel_tailscale.serveconfig import parse_serve_config
from tailscale_standin import HOST, PORTS, RECORDINGS, StandIn, recorded, web

from prx_tunnel_core import Check, Target

TARGET = Target("127.0.0.1", 3000)
NOW = datetime(2026, 11, 22, 13, 7, tzinfo=UTC)


def summaries(name: str) -> list[Node]:
    """The nodes of a recording that has one summary of a status per line."""
    lines = (RECORDINGS / f"{name}.txt").read_text().splitlines()
    documents = [json.loads(line[line.index("{") :]) for line in lines if '{"BackendState' in line]
    for document in documents:
        own = {key[5:]: document.pop(key) for key in [*document] if key.startswith("Self.")}
        document["Self"] = {"DNSName": f"{HOST}."} | own
    return [parse_node(json.dumps(document)) for document in documents]


async def verdicts(node: StandIn, **settings: Any) -> dict[str, str]:
    async with connect(node.config(**settings), TARGET) as connection:
        return {check.name: check.verdict for check in await connection.check()}


@pytest.mark.anyio
@pytest.mark.parametrize("settings", [{}, {"background": True}, {"mode": "serve"}])
async def test_a_tunnel_that_is_well(settings: dict[str, Any], node: StandIn) -> None:
    assert await verdicts(node, **settings) == dict.fromkeys(
        ["tailscaled", "control", "permission", "route"], "ok"
    )


@pytest.mark.anyio
async def test_each_trouble_is_a_check_of_its_own(node: StandIn) -> None:
    route_gone = web("/", target="http://127.0.0.1:9999")
    async with connect(node.config(), TARGET) as connection:
        for change, name, says in [
            ({"BackendState": "Stopped"}, "tailscaled", "in the state Stopped"),
            ({"BackendState": "NeedsLogin"}, "tailscaled", "in the state NeedsLogin"),
        ]:
            node.status(**change)
            assert_fails(await connection.check(), name, says)
        node.status(BackendState="Running")
        node.own(Online=False)
        node.status(Health=["Tailscale could not connect to any relay server."])
        assert_fails(await connection.check(), "control", "the node is cut off")
        node.own(Online=True)
        node.status(Health=[])
        node.allow("https", PORTS)
        assert_fails(await connection.check(), "permission", "'funnel'")
        node.allow("https", "funnel", PORTS.replace("443,", ""))
        assert_fails(await connection.check(), "permission", "no longer allows Funnel on 443")
        node.allow("https", "funnel", PORTS)
        with node.edit() as state:
            (session,) = state["serve"]["Foreground"]
            state["serve"]["Foreground"][session] = route_gone
        assert_fails(await connection.check(), "route", "no longer has the route")


def assert_fails(checks: Any, name: str, says: str) -> None:
    (failed,) = [check for check in checks if check.verdict == "fail"]
    assert failed.name == name
    assert says in failed.detail


@pytest.mark.anyio
async def test_another_session_is_not_ours(node: StandIn) -> None:
    async with connect(node.config(), TARGET) as connection:
        with node.edit() as state:
            state["serve"]["Foreground"]["0123456789abcdef"] = web("/")
            for name in [*state["serve"]["Foreground"]][:1]:
                del state["serve"]["Foreground"][name]
        assert_fails(await connection.check(), "route", "no longer has")


@pytest.mark.anyio
async def test_what_was_for_the_tailnet_and_became_public_is_told(node: StandIn) -> None:
    async with connect(node.config(mode="serve"), TARGET) as connection:
        with node.edit() as state:
            state["serve"]["AllowFunnel"] = {f"{HOST}:443": True}
        assert_fails(await connection.check(), "route", "PUBLIC")


@pytest.mark.anyio
async def test_a_daemon_that_does_not_answer_fails(
    node: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(node.config(background=True), TARGET) as connection:
        node.daemon("refused")
        assert_fails(await connection.check(), "tailscaled", "not running")
        node.daemon("up")
        monkeypatch.setattr("prx_tunnel_tailscale.connection.PATIENCE", 0.2)
        node.fault(hang=["status"])
        assert_fails(await connection.check(), "tailscaled", "did not answer")
        node.fault(hang=[])
        monkeypatch.undo()


@pytest.mark.anyio
async def test_an_answer_that_is_none_is_doubt_not_failure(node: StandIn) -> None:
    async with connect(node.config(), TARGET) as connection:
        node.fault(garbage={"status": "<html>"})
        (check,) = await connection.check()
        assert (check.name, check.verdict) == ("tailscaled", "unknown")


def test_a_relay_that_is_lost_is_doubt() -> None:
    before, at_first, after_10_s = summaries("43-derp-stopped")
    assert connection.check_network(before) == connection.check_network(at_first) == []
    (check,) = connection.check_network(after_10_s)
    assert check.verdict == "unknown"
    assert "could not connect to the 'Test' relay server" in check.detail


def test_a_control_connection_that_is_lost_is_seen_at_once() -> None:
    (node,) = summaries("44-control-killed")
    assert connection.check_state(node).verdict == "ok"
    assert connection.check_control(node).verdict == "unknown"


@pytest.mark.parametrize(
    ("warning", "verdict"),
    [
        ("Tailscale could not connect to the 'Test' relay server.", "fail"),
        ("Tailscale cannot connect because the network is down.", "fail"),
        ("Unable to connect to the Tailscale coordination server to synchronize.", "unknown"),
        ("An update is available.", "unknown"),
    ],
)
def test_a_node_without_control_and_relay_is_cut_off(warning: str, verdict: str) -> None:
    node = Node(state="Running", online=False, warnings=(warning,))
    assert connection.check_control(node).verdict == verdict


def test_a_key_that_expires_is_seen() -> None:
    before, expired, unexpired = summaries("42-expire")
    assert [connection.check_state(node).verdict for node in (before, expired, unexpired)] == [
        "ok",
        "fail",
        "ok",
    ]
    later = NOW + timedelta(minutes=5)
    assert connection.check_key(before, later) == []
    assert [check.verdict for check in connection.check_key(expired, later)] == ["fail"]


@pytest.mark.parametrize(
    ("days", "expected"), [(8, []), (6, ["ok"]), (0.01, ["ok"]), (0, ["fail"]), (-1, ["fail"])]
)
def test_a_key_is_talked_about_a_week_ahead(days: float, expected: list[str]) -> None:
    node = Node(state="Running", key_expiry=NOW + timedelta(days=days))
    checks = connection.check_key(node, NOW)
    assert [check.verdict for check in checks] == expected
    assert all("--force-reauth" in check.detail for check in checks)


@pytest.mark.parametrize(
    "warning",
    [
        "An update from version 1.96.0 to 1.102.3 is available. Run `tailscale update`.",
        "Some peers are advertising routes but --accept-routes is false",
    ],
)
def test_warnings_that_are_not_about_the_way_in_do_not_matter(warning: str) -> None:
    assert connection.check_network(Node(state="Running", warnings=(warning,))) == []


def test_a_daemon_that_starts_is_neither_well_nor_ill() -> None:
    assert connection.check_state(Node(state="Starting")).verdict == "unknown"


def test_the_recorded_revocation_is_seen_though_the_entry_stays() -> None:
    served = parse_serve_config(recorded("73-caps-revoked-while-on")[-1].stdout)
    route = route_for(TailscaleConfig(), TARGET, HOST)
    assert connection.check_entry(served, route, lambda s: s.in_background(route)).verdict == "ok"
    revoked = Node(state="Running", online=True, capabilities=frozenset({"https", PORTS}))
    assert connection.check_permission(revoked, route) == Check(
        "permission", "fail", "the tailnet has removed the permission 'funnel'"
    )
