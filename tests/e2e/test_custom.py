"""`custom` with the programs that people run: OpenSSH's client and bore, and their servers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prx_tunnel_core.models import Reconnecting
from support.programs import needs_program
from support.tunnel_scenarios import (
    FarEnd,
    comes_back_after_a_restart,
    echo_app,
    notices_a_frozen_server,
    reached,
    running,
    traffic_arrives_intact,
)
from support.tunnel_servers import bore_server, openssh_server

pytestmark = pytest.mark.anyio


@dataclass
class Setup:
    table: Mapping[str, Any]
    far_end: FarEnd


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything that a program may take for its own place to write."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


def ssh(folder: Path) -> Iterator[Setup]:
    with openssh_server(folder) as server:
        custom = {
            "command": server.client("-N", "-R", "0:{host}:{port}"),
            "url_pattern": r"^Allocated port (\d+) for remote forward",
            "url_host": "127.0.0.1",
        }
        yield Setup({"backend": "custom", "custom": custom}, server)


def bore(folder: Path) -> Iterator[Setup]:
    with bore_server(folder) as server, pytest.MonkeyPatch.context() as patch:
        # Its users have it in their PATH, and write its bare name.
        beside = os.path.dirname(needs_program("bore"))
        patch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{beside}")
        custom = {"command": "bore local {port} --to 127.0.0.1", "url_pattern": "127.0.0.1"}
        yield Setup({"backend": "custom", "custom": custom}, server)


@pytest.fixture(params=[ssh, bore])
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setup]:
    folder = tmp_path / "server"
    folder.mkdir()
    yield from request.param(folder)


async def test_traffic_arrives_intact_and_stop_leaves_nothing(setup: Setup, home: Path) -> None:
    await traffic_arrives_intact(setup.table, setup.far_end, home)


async def test_the_tunnel_comes_back_after_its_server_was_killed(setup: Setup, home: Path) -> None:
    await comes_back_after_a_restart(setup.table, setup.far_end)


async def test_a_frozen_server_is_noticed_and_left(setup: Setup, home: Path) -> None:
    await notices_a_frozen_server(setup.table, setup.far_end)


async def test_a_tunnel_of_somebody_else_is_watched_by_probes_alone(home: Path) -> None:
    async with echo_app() as far_end:
        table = {
            "backend": "custom",
            "health_check_interval": 1,
            "health_check_failures": 1,
            "custom": {"public_url": f"http://127.0.0.1:{far_end.port}"},
        }
        async with running(table) as (tunnel, _):
            assert tunnel.info is not None
            assert tunnel.info.public_url == f"http://127.0.0.1:{far_end.port}"
            assert (await tunnel.health_check()).verdict == "healthy"
            far_end.wait_for(1_000_000)  # it accepts, and never answers again
            dropped = await reached(tunnel.watch(), Reconnecting)
            assert "no answer within" in dropped.reason
