"""Opening each kind of tunnel, and each way in which that goes wrong, with a real process."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from cloudflare_kit.installed import StandIn, order
from prx_tunnel_cloudflare import naming
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.connect import connect

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import ConnectError, ProgramExited, ProgramNotFound, SetupError

pytestmark = pytest.mark.anyio

Configure = Callable[..., CloudflareConfig]
TUNNEL = "6ff42ae2-765d-4adf-8112-31c55c1551ef"


async def test_quick(stand_in: StandIn, configure: Configure, target: Target) -> None:
    async with connect(configure(), target) as connection:
        assert connection.public_url == "https://cedar-jasper-noble-silver.trycloudflare.com"
        assert "changes at every start" in connection.details["note"]
        assert connection.details["edge location"] == "lis01"
        assert connection.details["cloudflared"] == "2026.8.2"
    (run,) = stand_in.runs
    assert run.argv[0] == "tunnel"
    assert "run" not in run.argv
    assert run.env["TUNNEL_URL"] == "http://127.0.0.1:9999"
    assert run.env["TUNNEL_TRANSPORT_PROTOCOL"] == "auto"  # said, or there would be no fallback
    assert run.env["NO_AUTOUPDATE"] == "true"
    assert run.env["TUNNEL_METRICS"] == "127.0.0.1:0"
    assert stand_in.log()[-2:] == ["SIGTERM", "exit 0"]


async def test_remotely_managed(
    stand_in: StandIn, configure: Configure, target: Target, token: str
) -> None:
    stand_in.plan({"without": "version=8"})
    async with connect(configure(token=token), target) as connection:
        assert connection.public_url == "https://app.example.com"
        assert "warning" not in connection.details
        assert [check.verdict for check in await connection.check()] == ["ok", "ok"]
    (run,) = stand_in.runs
    assert run.argv[-1] == "run"
    assert run.env["TUNNEL_TOKEN"] == token
    assert token not in run.config
    assert token not in " ".join(run.argv)


async def test_configured_hostname_wins(
    stand_in: StandIn, configure: Configure, target: Target, token: str
) -> None:
    stand_in.plan({"without": "version="})  # it does not wait for a configuration
    config = configure(token=token, hostname="Agent.Example.com")
    async with connect(config, target) as connection:
        assert connection.public_url == "https://agent.example.com"


async def test_locally_managed(stand_in: StandIn, configure: Configure, tmp_path: Path) -> None:
    file = tmp_path / "tunnel.json"
    file.write_text(json.dumps({"TunnelID": TUNNEL, "TunnelSecret": "secret"}))
    config = configure(credentials_file=str(file), tunnel_id=TUNNEL, hostname="app.example.com")
    async with connect(config, Target("::1", 3000)) as connection:
        assert connection.public_url == "https://app.example.com"
        assert [check.verdict for check in await connection.check()] == ["ok", "ok"]
    (run,) = stand_in.runs
    assert json.loads(run.config) == {
        "no-autoupdate": True,
        "tunnel": TUNNEL,
        "credentials-file": str(file),
        "ingress": [
            {"hostname": "app.example.com", "service": "http://[::1]:3000"},
            {"service": "http_status:404"},
        ],
    }
    assert "TUNNEL_URL" not in run.env


async def test_nothing_of_the_users_leaks_in(
    stand_in: StandIn,
    configure: Configure,
    target: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    foreign = tmp_path / "home" / ".cloudflared"
    foreign.mkdir()
    (foreign / "config.yml").write_text('{"metrics": "127.0.0.1:1", "tunnel": "other"}')
    for name in ("TUNNEL_HOSTNAME", "TUNNEL_LOGLEVEL", "TUNNEL_TOKEN", "CLOUDFLARE_TUNNEL_TOKEN"):
        monkeypatch.setenv(name, "foreign")
    async with connect(configure(), target):
        pass
    (run,) = stand_in.runs
    assert "foreign" not in run.env.values()
    assert json.loads(run.config) == {"no-autoupdate": True}
    config_file = Path(run.argv[run.argv.index("--config") + 1])
    assert not config_file.parent.exists()
    assert not list((tmp_path / "tmp").iterdir())


async def test_connected_means_registered(
    stand_in: StandIn, configure: Configure, target: Target
) -> None:
    """The banner and /quicktunnel come before any connection, and prove nothing."""
    gate = stand_in.gate("edge")
    stand_in.plan({"hold": {"Registered tunnel connection": "edge"}})
    connected = anyio.Event()

    async def open_tunnel() -> None:
        async with connect(configure(), target):
            connected.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(open_tunnel)
        await gate.reached()
        while stand_in.log().count("GET /ready") < 2:
            await anyio.sleep(0.02)
        assert not connected.is_set()
        gate.release()
        await connected.wait()


@pytest.mark.parametrize(
    ("recording", "kind", "retry_after", "words"),
    [
        ("b01-quick-no-network-text", ConnectError, 0, "name server"),
        ("b03-quick-api-429-text", ConnectError, 300, "429"),
        ("b03-quick-api-500html-json", ConnectError, 60, "500"),
        ("b03-quick-api-successfalse-text", ConnectError, 60, "does not say why"),
        ("b04-quick-api-refused", ConnectError, 0, "port 443"),
        ("b05-quick-ok-no-edge-dns-text", ConnectError, 0, "argotunnel.com"),
        ("c05-register-error-permanent-http2", ConnectError, 0, "not allowed to connect"),
        ("c05-register-stall-http2", ConnectError, 0, "context deadline exceeded"),
        ("e21-early-sigterm-0.02", ProgramExited, 0, "exited with code 0"),
    ],
)
async def test_it_ends_before_it_is_connected(
    stand_in: StandIn,
    configure: Configure,
    target: Target,
    recording: str,
    kind: type[ConnectError],
    retry_after: float,
    words: str,
) -> None:
    plan: dict[str, Any] = {"play": [recording, 0]}
    if recording.startswith("e21"):
        plan = {"play": ["d14-ready-command", 3], "exit": 0}  # says nothing, exits with success
    stand_in.plan(plan)
    with pytest.raises(kind) as failed:
        async with connect(configure(), target):
            pytest.fail("not connected")
    assert failed.value.retry_after == retry_after
    assert words in str(failed.value)


@pytest.mark.parametrize(
    ("recording", "words"),
    [
        ("c06-edge-cert-untrusted-auto", "inspects TLS"),
        ("d06-port-7844-blocked-auto-text", "UDP and TCP to port 7844"),
    ],
)
async def test_it_tries_for_ever(
    stand_in: StandIn, configure: Configure, target: Target, recording: str, words: str
) -> None:
    """Given up before core would, since core could not say why."""
    stand_in.plan({"play": [recording, 0]})
    with pytest.raises(ConnectError) as failed, anyio.fail_after(0.8):
        async with connect(configure(), target):
            pytest.fail("not connected")
    assert words in str(failed.value)


async def test_it_says_nothing_at_all(
    stand_in: StandIn, configure: Configure, target: Target
) -> None:
    stand_in.gate("start")
    stand_in.plan({"hold": {"Thank you": "start"}})
    with pytest.raises(ConnectError, match="was silent"), anyio.fail_after(0.5):
        async with connect(configure(), target):
            pytest.fail("not connected")


async def test_an_unknown_flag_is_success_for_cloudflared_only(
    configure: Configure, target: Target
) -> None:
    with pytest.raises(SetupError, match=r"-flag-of-the-future.*extra_args"):
        async with connect(configure(extra_args=["--flag-of-the-future"]), target):
            pytest.fail("not connected")


async def test_program_missing(configure: Configure, target: Target) -> None:
    with pytest.raises(ProgramNotFound, match="install cloudflared"):
        async with connect(configure(program="/nowhere/cloudflared"), target):
            pytest.fail("not connected")


async def test_a_busy_metrics_port_costs_no_quick_tunnel(
    stand_in: StandIn, configure: Configure, target: Target
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConnectError, match=f"metrics_port: port {port}"):
            async with connect(configure(metrics_port=port), target):
                pytest.fail("not connected")
    assert not stand_in.runs
    async with connect(configure(metrics_port=port), target) as connection:
        assert connection.details["metrics"] == f"http://127.0.0.1:{port}"


async def test_who_answers_there_must_be_ours(
    stand_in: StandIn, configure: Configure, target: Target
) -> None:
    answer = '{"status":200,"readyConnections":4,"connectorId":"another"}'
    stand_in.plan({"answers": {"/ready": answer}})
    late = pytest.raises(ConnectError, match="no connection to Cloudflare within")
    with late, anyio.fail_after(0.8):
        async with connect(configure(), target):
            pytest.fail("not connected")


async def test_a_metrics_server_that_never_answers(
    stand_in: StandIn, configure: Configure, target: Target
) -> None:
    stand_in.plan({"silent": True})
    with pytest.raises(ConnectError), anyio.fail_after(0.6):
        async with connect(configure(), target):
            pytest.fail("not connected")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"play": ["c03-token-no-remote-config", 0]}, "has no public host name"),
        ({"play": ["c03-token-locally-managed-url", 0]}, "not managed in the dashboard"),
    ],
)
async def test_no_name_is_no_placeholder(
    stand_in: StandIn,
    configure: Configure,
    target: Target,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
    plan: dict[str, Any],
    words: str,
) -> None:
    monkeypatch.setattr(naming, "PUSHED_WITHIN", 0.2)
    stand_in.plan(plan)
    with pytest.raises(SetupError, match=r"tunnel\.cloudflare\.hostname") as failed:
        async with connect(configure(token=token), target):
            pytest.fail("not connected")
    assert words in str(failed.value)


async def test_the_dashboard_sends_traffic_elsewhere(
    stand_in: StandIn, configure: Configure, token: str
) -> None:
    stand_in.plan({"without": "version=8"})
    async with connect(configure(token=token), Target("127.0.0.1", 3000)) as connection:
        assert connection.public_url == "https://app.example.com"
        assert "http://127.0.0.1:9999, not to port 3000" in connection.details["warning"]
        edge, route = await connection.check()
        assert (edge.verdict, route.name, route.verdict) == ("ok", "local", "fail")
        assert "correct the route in Cloudflare's dashboard" in route.detail
        # Corrected in the dashboard while we run.
        ingress = [{"hostname": "app.example.com", "service": "http://localhost:3000"}]
        await order(connection.details["metrics"], "push", json.dumps({"ingress": ingress}))
        edge, route = await connection.check()
        assert (route.verdict, route.detail) == ("ok", "app.example.com leads to port 3000")
        await order(connection.details["metrics"], "push", '{"ingress": []}')
        edge, route = await connection.check()
        assert "no route for app.example.com" in route.detail
