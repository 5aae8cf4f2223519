"""Lists of this plugin, each walked whole; written here a second time, from tailscale's source."""

from __future__ import annotations

import pytest
from prx_tunnel_tailscale import prx_tunnel_backends, reasons
from prx_tunnel_tailscale.config import TailscaleConfig
from prx_tunnel_tailscale.connection import check_control, check_network
from prx_tunnel_tailscale.node import Node, parse_node
from prx_tunnel_tailscale.preflight import check_node
from prx_tunnel_tailscale.reasons import Problem, find_problem

from prx_tunnel_core import ConfigError, TunnelError
from prx_tunnel_core.backend import Backend
from prx_tunnel_core.config import validate

# cmd/tailscale/cli and ipn/ipnlocal/serve.go, of releases from 1.52 to 1.102.
SAID = [
    ("dial unix /run/tailscaled.sock: connect: permission denied", reasons.SOCKET_DENIED),
    ("failed to connect to local tailscaled; it doesn't appear to run", reasons.DAEMON_DOWN),
    ("failed to connect to local Tailscale daemon for /localapi/v0", reasons.DAEMON_DOWN),
    ("Failed to connect to local Tailscale service; is Tailscale running?", reasons.DAEMON_DOWN),
    ("unexpected EOF", reasons.DAEMON_LOST),
    ("Lost connection to tailscaled.", reasons.DAEMON_LOST),
    ("Logged out.", reasons.LOGGED_OUT),
    ("Tailscale is stopped.", reasons.STOPPED),
    ("Tailscale is starting. Please wait.", reasons.SETTLING),
    ("Machine is not yet approved by tailnet admin.", reasons.NEEDS_APPROVAL),
    ("error: HTTPS must be enabled in the admin console", reasons.HTTPS_OFF),
    ('Funnel not available; "funnel" node attribute not set.', reasons.FUNNEL_OFF),
    ("port 444 is not allowed for funnel", reasons.PORT_NOT_ALLOWED),
    ("Access denied: serve config denied", reasons.NO_PERMISSION),
    ("Unable to turn on Funnel while shields-up is enabled", reasons.SHIELDS_UP),
    ("error: etag mismatch", reasons.EDIT_RACE),
    ("Another client is changing the serve config; please try again.", reasons.EDIT_RACE),
    ("listener already exists for port 443", reasons.PORT_TAKEN),
    ("foreground already exists under this port", reasons.PORT_TAKEN),
    ("background configuration already exists, use `tailscale funnel`", reasons.PORT_TAKEN),
    ("error: already serving web under /", reasons.PORT_TAKEN),
    ("netmap is nil", reasons.NOT_SETTLED),
    ("only localhost or 127.0.0.1 proxies are currently supported", reasons.TARGET_REFUSED),
    ("the target must include a scheme (e.g. http://)", reasons.TARGET_REFUSED),
    ("flag provided but not defined: -bg", reasons.TOO_OLD),
    ("Error: the CLI for serve and funnel has changed.", reasons.TOO_OLD),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "problem"), SAID)
def test_each_sentence_of_the_program_is_understood(sentence: str, problem: Problem) -> None:
    assert find_problem(["noise", f"  {sentence} ", "more"]) == (problem, sentence)


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ("NeedsLogin", reasons.LOGGED_OUT),
        ("NeedsMachineAuth", reasons.NEEDS_APPROVAL),
        ("Stopped", reasons.STOPPED),
        ("InUseOtherUser", reasons.OTHER_USER),
    ],
)
def test_each_state_of_a_node_that_is_not_running(state: str, problem: Problem) -> None:
    node = parse_node(f'{{"BackendState": "{state}"}}')
    with pytest.raises(TunnelError) as caught:
        check_node(node)
    assert str(caught.value) == str(problem.error(""))


@pytest.mark.parametrize(
    ("version", "is_old"),
    [("1.50.1", True), ("1.51.99", True), ("1.52.0", False), ("1.52.1", False), ("2.0.0", False)],
)
def test_the_oldest_daemon_that_can_be_used_is_1_52(version: str, is_old: bool) -> None:
    name = '{"DNSName": "a.example.ts.net."}'
    node = parse_node(f'{{"BackendState": "Running", "Version": "{version}-t1", "Self": {name}}}')
    if not is_old:
        check_node(node)
        return
    with pytest.raises(TunnelError, match=f"tailscaled is {version}"):
        check_node(node)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("funnel", 'write mode = "funnel" or mode = "serve"'),
        ("port", "did you mean 'funnel_port'?"),
        ("reset_on_stop", "only our own route is removed, always"),
        ("tailscale_path", "did you mean 'program'?"),
        ("tailscale_bin", "did you mean 'program'?"),
    ],
)
def test_each_name_of_another_tool_is_answered_with_ours(name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(TailscaleConfig, {name: 443}, path="tunnel.tailscale")
    assert str(caught.value) == f"tunnel.tailscale: unknown key {name!r}; {hint}"


def warned(*warnings: str) -> Node:
    listed = ", ".join(f'"{each}"' for each in warnings)
    return parse_node(f'{{"BackendState": "Running", "Health": [{listed}]}}')


@pytest.mark.parametrize(
    ("warning", "is_cut_off", "is_told"),
    [
        ("Tailscale could not connect to any relay server.", True, True),
        ("Tailscale cannot connect because the network is down.", True, True),
        ("no DERP home", True, True),
        ("Tailscale can't reach the coordination server.", False, True),
        ("An update is available.", False, False),
    ],
)
def test_each_warning_that_concerns_the_way_in(
    warning: str, is_cut_off: bool, is_told: bool
) -> None:
    assert check_control(warned(warning)).verdict == ("fail" if is_cut_off else "unknown")
    assert [check.detail for check in check_network(warned(warning))] == [warning] * is_told


def test_what_holds_for_a_key_that_is_not_set() -> None:
    fields = {k: each for k, each in TailscaleConfig.model_fields.items() if not each.is_required()}
    found = {key: each.get_default(call_default_factory=True) for key, each in fields.items()}
    assert found == {
        "connect_timeout": None,
        "mode": "funnel",
        "funnel_port": 443,
        "path": "/",
        "background": False,
        "program": "tailscale",
        "socket": None,
    }


def test_the_servers_that_doctor_asks() -> None:
    (backend,) = prx_tunnel_backends()
    assert isinstance(backend, Backend)
    assert backend.servers is not None
    assert list(backend.servers(validate(TailscaleConfig, {}, path="t"))) == [
        "controlplane.tailscale.com:443"
    ]
