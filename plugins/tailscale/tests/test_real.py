"""The real programs. They never see the real network; Funnel's own ingress is not part of it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from prx_tunnel_tailscale.config import TailscaleConfig
from prx_tunnel_tailscale.connect import connect
from prx_tunnel_tailscale.diagnose import diagnose
from prx_tunnel_tailscale.node import parse_node
from prx_tunnel_tailscale.program import Tailscale
from prx_tunnel_tailscale.reasons import MINIMUM
from tailscale_real import RealNode, Tailnet, program, real_node, tailnet
from tailscale_standin import HOST, PORTS, recorded, web

from prx_tunnel_core import ConnectError, SetupError, Target

pytestmark = pytest.mark.anyio

TARGET = Target("127.0.0.1", 3000)
ALL = f"caps https,funnel,{PORTS}"


@pytest.fixture(scope="module")
def net() -> Iterator[Tailnet]:
    with tailnet() as started:
        yield started


@pytest.fixture(scope="module")
def member(net: Tailnet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    with real_node(net, tmp_path_factory.mktemp("member")) as node:
        node.log_in()
        yield node


@pytest.fixture
def node(member: RealNode) -> RealNode:
    """The member of the tailnet, with nothing served and everything allowed."""
    assert member.served == {}
    return member


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the program itself tries for 2 s
async def test_without_a_daemon(tmp_path: Path) -> None:
    config = TailscaleConfig(program=program("tailscale"), socket=str(tmp_path / "t.sock"))
    with pytest.raises(ConnectError, match=r"tailscaled is not running.*systemctl enable"):
        async with connect(config, TARGET):
            pass


async def test_the_version_is_told() -> None:
    tailscale = Tailscale.of(TailscaleConfig(program=program("tailscale")))
    assert await tailscale.version() >= MINIMUM


@pytest.fixture(scope="module")
def stranger(net: Tailnet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    with real_node(net, tmp_path_factory.mktemp("stranger")) as node:
        yield node


async def test_a_node_that_is_not_logged_in(stranger: RealNode) -> None:
    with pytest.raises(SetupError, match="not logged in to a tailnet"):
        async with connect(stranger.config(), TARGET):
            pass
    *_, last = await diagnose(stranger.config())
    assert (last.name, last.verdict) == ("node", "fail")


async def test_the_shapes_are_those_of_the_recordings(node: RealNode) -> None:
    real = json.loads(node.run("status", "--json", "--peers=false").stdout)
    old = json.loads(recorded("07-on-status-json")[0].stdout)
    read = {"Version", "BackendState", "AuthURL", "Self", "Health", "CurrentTailnet"}
    assert read <= old.keys() & real.keys()
    read_of_self = {"DNSName", "Online", "Relay", "CapMap", "Capabilities"}
    assert read_of_self <= old["Self"].keys() & real["Self"].keys()
    parsed = parse_node(json.dumps(real))
    assert (parsed.state, parsed.dns_name, parsed.online) == ("Running", HOST, True)
    assert {"https", "funnel", PORTS} <= parsed.capabilities


@pytest.mark.parametrize("mode", ["funnel", "serve"])
async def test_a_route_in_the_foreground(
    mode: str, node: RealNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_tailscale.preflight.LEAVE", 0.1)
    async with connect(node.config(mode=mode, path="/hook"), TARGET) as connection:
        assert connection.public_url == f"https://{HOST}/hook"
        ((_, session),) = node.served["Foreground"].items()
        assert session == web("/hook", funnel=mode == "funnel")
        assert {check.verdict for check in await connection.check()} == {"ok"}
        with pytest.raises(SetupError, match="already serves something else"):
            async with connect(node.config(), TARGET):
                pass
    assert (await connection.wait_closed()).startswith("tailscale exited with code 0")
    assert node.served == {}


@pytest.mark.parametrize("mode", ["funnel", "serve"])
async def test_a_route_in_the_background(mode: str, node: RealNode) -> None:
    config = node.config(mode=mode, background=True)
    async with connect(config, TARGET) as connection:
        assert node.served == web("/", funnel=mode == "funnel")
        assert {check.verdict for check in await connection.check()} == {"ok"}
        with pytest.raises(SetupError, match="already serves something else"):
            async with connect(node.config(path="/x", background=True), TARGET):
                pass
    assert node.served == {}


async def test_the_refusal_of_the_daemon_is_understood(node: RealNode) -> None:
    """What comes when somebody takes the port between our look and our start."""
    tailscale = Tailscale.of(node.config())
    node.run("serve", "--bg", "--https=443", "3000")
    answer = await tailscale.run("funnel", "--https=443", "--set-path=/", "http://127.0.0.1:3001")
    assert "the port already serves something else" in str(tailscale.failure(answer))
    node.run("serve", "--https=443", "off")


async def test_others_are_left_alone_and_races_are_won(node: RealNode) -> None:
    node.run("serve", "--bg", "--https=4443", "9000")
    theirs = node.served
    async with anyio.create_task_group() as tasks:
        for port in (443, 8443, 10000):
            tasks.start_soon(open_and_close, node.config(background=True, funnel_port=port))
    assert node.served == theirs
    node.run("serve", "--https=4443", "off")


async def open_and_close(config: TailscaleConfig) -> None:
    async with connect(config, TARGET) as connection:
        assert connection.public_url.startswith(f"https://{HOST}")


async def test_a_permission_that_is_taken_away_is_seen(node: RealNode) -> None:
    async with connect(node.config(), TARGET) as connection:
        node.net.order("caps https")
        node.wait_for(lambda status: "funnel" not in status["Self"]["CapMap"])
        checks = {check.name: check for check in await connection.check()}
        assert checks["permission"].verdict == "fail"
        assert checks["route"].verdict == "ok"  # tailscaled goes on listing it
    node.net.order(ALL)
    node.wait_for(lambda status: PORTS in status["Self"]["CapMap"])


async def test_a_port_that_the_program_would_announce_is_refused(node: RealNode) -> None:
    with pytest.raises(SetupError, match=r"\(8444; allowed: 443, 8443, 10000\)"):
        async with connect(node.config(funnel_port=8444), TARGET):
            pass


async def test_a_node_that_is_stopped_meanwhile_is_seen(node: RealNode) -> None:
    async with connect(node.config(), TARGET) as connection:
        node.run("down")
        failed = {c.name for c in await connection.check() if c.verdict == "fail"}
        assert "tailscaled" in failed
        with pytest.raises(SetupError, match="is stopped"):
            async with connect(node.config(funnel_port=8443), TARGET):
                pass
    node.log_in()


async def test_a_key_that_expires_is_told(node: RealNode) -> None:
    node.net.order("expire true")
    node.wait_for(lambda status: status["BackendState"] == "NeedsLogin")
    with pytest.raises(SetupError, match="key has expired"):
        async with connect(node.config(), TARGET):
            pass
    node.net.order("expire false")
    node.net.order(ALL)  # has the node told of its state anew
    node.wait_for(lambda status: status["BackendState"] == "Running")


async def test_a_program_that_is_killed_leaves_nothing(node: RealNode) -> None:
    async with connect(node.config(), TARGET) as connection:
        # The session's own program: the only child that runs now.
        os.kill(child_of_ours("tailscale"), signal.SIGKILL)
        assert "SIGKILL" in await connection.wait_closed()
    node.wait_for(lambda _: node.served == {})


def child_of_ours(name: str) -> int:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = stat.read_text().rpartition(") ")
        except OSError:
            continue
        if rest.split()[1] == str(os.getpid()) and head.endswith(f"({name}"):
            return int(stat.parent.name)
    raise AssertionError(f"no child {name}")


@pytest.mark.parametrize("how", ["terminate", "kill"])
async def test_a_daemon_that_restarts_gets_its_route_again(
    how: str, net: Tailnet, tmp_path: Path
) -> None:
    with real_node(net, tmp_path) as node:
        node.log_in()
        async with connect(node.config(), TARGET) as connection:
            node.stop(how)
            assert "tailscale exited with code" in await connection.wait_closed()
        node.start()
        async with connect(node.config(), TARGET) as connection:
            assert list(node.served["Foreground"].values()) == [web("/")]
