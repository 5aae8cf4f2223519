"""Everything that stands between a node and a route, each with its own error and fix."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from prx_tunnel_tailscale.connect import connect
from prx_tunnel_tailscale.node import parse_node
from prx_tunnel_tailscale.preflight import check_node, lacks
from prx_tunnel_tailscale.reasons import Unreadable
from prx_tunnel_tailscale.serveconfig import parse_serve_config
from tailscale_standin import HOST, StandIn, recorded, web

from prx_tunnel_core import ConnectError, SetupError, Target

TARGET = Target("127.0.0.1", 3000)
PAST = "2026-11-22T13:07:07Z"

anyio = pytest.mark.anyio


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        ({"BackendState": "NeedsLogin"}, SetupError, "not logged in.*sudo tailscale up"),
        (
            {"BackendState": "NeedsLogin", "AuthURL": "https://login.tailscale.com/a/12ab"},
            SetupError,
            "log in at https://login.tailscale.com/a/12ab",
        ),
        (
            {"BackendState": "NeedsLogin", "Self": {"DNSName": f"{HOST}.", "KeyExpiry": PAST}},
            SetupError,
            r"key has expired \(on 2026-11-22\).*--force-reauth",
        ),
        ({"BackendState": "NeedsMachineAuth"}, SetupError, "not yet approved.*admin/machines"),
        ({"BackendState": "Stopped"}, SetupError, "is stopped.*sudo tailscale up"),
        ({"BackendState": "InUseOtherUser"}, SetupError, "another user"),
        ({"BackendState": "Thinking"}, ConnectError, "the state 'Thinking'"),
        ({"Version": "1.50.1-t1234"}, SetupError, "1.52.0 or newer.*tailscaled is 1.50.1"),
        ({"Self": {"DNSName": ""}}, SetupError, "no DNS name.*MagicDNS"),
        ({"Self": None}, SetupError, "no DNS name.*MagicDNS"),
    ],
)
def test_each_state_has_its_own_error(
    status: dict[str, Any], error: type[Exception], says: str
) -> None:
    document = json.loads(recorded("07-on-status-json")[0].stdout) | status
    with pytest.raises(error, match=says):
        check_node(parse_node(json.dumps(document)))


def test_the_recorded_states_are_told_apart() -> None:
    for name, index, says in [
        ("02-needslogin-status-json", 0, "not logged in"),
        ("03-needslogin-with-authurl-status-json", 0, "or log in at http://127.0.0.1:31544/auth/"),
        ("75-needs-machine-auth", 3, "not yet approved"),
        ("30-down-while-bg-funnel", 3, "is stopped"),
    ]:
        with pytest.raises(SetupError, match=says):
            check_node(parse_node(recorded(name)[index].stdout))


@anyio
@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"daemon": "absent"}, ConnectError, "tailscaled is not running.*systemctl"),
        ({"version": "1.50.1"}, SetupError, "is tailscale 1.50.1, but 1.52.0 or newer"),
        ({"serve": web("/", port=8443)}, SetupError, "choose another"),
        ({"serve": {"AllowFunnel": {f"{HOST}:8443": True}}}, SetupError, "would be public"),
    ],
)
async def test_nothing_is_run_that_could_change_something(
    change: dict[str, Any], error: type[Exception], says: str, node: StandIn
) -> None:
    with node.edit() as state:
        state |= change
    with pytest.raises(error, match=says):
        async with connect(node.config(mode="serve", funnel_port=8443), TARGET):
            pass
    assert node.changes() == []


@anyio
async def test_a_port_that_the_tailnet_does_not_allow_is_refused(node: StandIn) -> None:
    # 17-port-not-allowed: the program itself says "Available on the internet".
    with pytest.raises(SetupError, match=r"\(8444; allowed: 443, 8443, 10000\); set .*funnel_port"):
        async with connect(node.config(funnel_port=8444), TARGET):
            pass
    assert node.changes() == []


@anyio
async def test_a_node_without_the_list_of_ports_is_refused(node: StandIn) -> None:
    node.allow("https", "funnel")
    with pytest.raises(SetupError, match=r"443; allowed: none"):
        async with connect(node.config(), TARGET):
            pass


@anyio
async def test_serve_needs_no_permission_for_the_port(node: StandIn) -> None:
    node.allow("https")
    async with connect(node.config(mode="serve", funnel_port=9999), TARGET) as connection:
        assert connection.public_url == f"https://{HOST}:9999"


@anyio
async def test_a_daemon_that_is_starting_is_waited_for(node: StandIn) -> None:
    node.fault(starting=2)
    async with connect(node.config(), TARGET) as connection:
        assert connection.public_url == f"https://{HOST}"


@anyio
async def test_a_daemon_that_never_gets_ready_is_tried_again(
    node: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_tailscale.preflight.SETTLE", 0.1)
    node.status(BackendState="NoState")
    with pytest.raises(ConnectError, match="still starting"):
        async with connect(node.config(), TARGET):
            pass


@anyio
async def test_an_ipv6_target_is_refused_with_the_reason(node: StandIn) -> None:
    with pytest.raises(SetupError, match=r'local_host = "127.0.0.1"'):
        async with connect(node.config(), Target("::1", 3000)):
            pass


@anyio
async def test_a_key_that_ends_soon_is_told_at_the_start(
    node: StandIn, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_tailscale.connection.SOON", timedelta(days=365_000))
    node.own(KeyExpiry="2126-01-02T00:00:00Z")
    async with connect(node.config(), TARGET):
        pass
    assert "key expires on 2126-01-02" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        "null",
        "",
        "no JSON",
        "[]",
        '{"BackendState": 7}',
        '{"BackendState": "Running", "Self": {"DNSName": ["x"]}}',
        '{"BackendState": "Running", "Self": {"KeyExpiry": "soon"}}',
    ],
)
def test_what_is_no_status_is_refused(answer: str) -> None:
    with pytest.raises(Unreadable, match="tailscale status --json: "):
        parse_node(answer)


@pytest.mark.parametrize("answer", ["", "[]", "no JSON", '{"TCP": {"x": {}}}', '{"Web": 1}'])
def test_what_is_no_configuration_is_refused(answer: str) -> None:
    with pytest.raises(Unreadable, match="tailscale funnel status --json: "):
        parse_serve_config(answer)


@pytest.mark.parametrize("answer", ["null", "{}", '{"TCP": null, "Foreground": {"12ab": null}}'])
def test_there_are_several_ways_to_write_nothing(answer: str) -> None:
    assert parse_serve_config(answer).handlers(443) == []


@anyio
async def test_an_answer_that_is_none_is_tried_again(node: StandIn) -> None:
    node.fault(garbage={"status": "bash: something else"})
    with pytest.raises(ConnectError, match="tailscale status --json: "):
        async with connect(node.config(), TARGET):
            pass


@anyio
async def test_a_warning_beside_the_answer_is_no_obstacle(node: StandIn) -> None:
    node.fault(mismatch=True)
    async with connect(node.config(), TARGET) as connection:
        assert connection.public_url == f"https://{HOST}"


def test_an_old_client_only_has_the_list_of_capabilities() -> None:
    document = json.loads(recorded("07-on-status-json")[0].stdout)
    del document["Self"]["CapMap"]
    assert lacks(parse_node(json.dumps(document)), public=True) is None
