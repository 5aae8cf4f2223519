from __future__ import annotations

import base64
import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for cloudflare_kit, which the stand-in uses as well

from cloudflare_kit.installed import StandIn  # noqa: E402
from cloudflare_kit.team import AUDIENCE, Clock, Team  # noqa: E402
from prx_tunnel_cloudflare.access import AccessVerifier  # noqa: E402
from prx_tunnel_cloudflare.access_keys import KeyStore  # noqa: E402
from prx_tunnel_cloudflare.config import CloudflareConfig  # noqa: E402

from prx_tunnel_core.backend import Target  # noqa: E402
from prx_tunnel_core.config import validate  # noqa: E402

Configure = Callable[..., CloudflareConfig]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the configuration of whoever runs it, nor leaves anything behind."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    stand_in = StandIn(tmp_path / "bin")
    yield stand_in
    stand_in.close()


@pytest.fixture
def target() -> Target:
    return Target("127.0.0.1", 9999)  # the port of the recordings


@pytest.fixture(scope="session")
def token() -> str:
    content = {
        "a": "0" * 32,
        "t": "6ff42ae2-765d-4adf-8112-31c55c1551ef",
        "s": "Y2FuYXJ5LXNlY3JldA==",
    }
    return base64.b64encode(json.dumps(content).encode()).decode()


@pytest.fixture
def configure(stand_in: StandIn) -> Configure:
    """The configuration of a tunnel that runs the stand-in, fast to give up."""

    def configure(**table: Any) -> CloudflareConfig:
        table = {"program": str(stand_in.program), **table}
        return validate(CloudflareConfig, table, path="tunnel.cloudflare")

    return configure


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def team() -> Iterator[Team]:
    team = Team()
    yield team
    team.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(team: Team, clock: Clock) -> AccessVerifier:
    keys = KeyStore(team.url, clock=clock)
    return AccessVerifier(team="example", audience=AUDIENCE, keys=keys)
