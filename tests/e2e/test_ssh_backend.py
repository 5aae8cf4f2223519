"""`ssh` under the supervisor: through OpenSSH's server, the relay alone, and the embedded relay."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prx_tunnel_ssh import embedded
from prx_tunnel_ssh.relay import server as relays
from prx_tunnel_ssh.relay.server import Relay

from prx_tunnel_core.models import Connected, Reconnecting
from support.http_server import free_port
from support.tunnel_scenarios import (
    FarEnd,
    comes_back_after_a_restart,
    flows,
    notices_a_frozen_server,
    reached,
    running,
    traffic_arrives_intact,
)
from support.tunnel_servers import OpenSSHServer, Server, make_key, openssh_server

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # asyncssh's only one


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything that the backend may take for a place of the user's."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@dataclass
class Setup:
    table: Mapping[str, Any]
    far_end: FarEnd


def server_table(port: int, known_hosts: Path, client_key: Path) -> Mapping[str, Any]:
    ssh = {
        "host": "127.0.0.1",
        "port": port,
        "identity_file": str(client_key),
        "known_hosts": str(known_hosts),
    }
    return {"backend": "ssh", "ssh": ssh}


def openssh(folder: Path) -> Iterator[Setup]:
    with openssh_server(folder) as server:
        yield Setup(_table_of(server), server)


def _table_of(server: OpenSSHServer) -> Mapping[str, Any]:
    return server_table(server.port, server.known_hosts, server.client_key)


def relay(folder: Path) -> Iterator[Setup]:
    """`python -m prx_tunnel_ssh.relay`, with keys that are known beforehand."""
    port, client_key, host_key = free_port(), make_key(folder / "key"), make_key(folder / "host")
    authorized, known_hosts = folder / "authorized_keys", folder / "known_hosts"
    authorized.write_text(client_key.with_suffix(".pub").read_text())
    known_hosts.write_text(f"[127.0.0.1]:{port} {host_key.with_suffix('.pub').read_text()}")
    command = [
        sys.executable, "-m", "prx_tunnel_ssh.relay", "--listen", f"127.0.0.1:{port}",
        "--authorized-keys", str(authorized), "--host-key", str(host_key),
    ]  # fmt: skip
    server = Server(command, port, folder / "relay.log")
    try:
        yield Setup(server_table(port, known_hosts, client_key), server)
    finally:
        server.kill()


class Embedded:
    """The relay inside this process, which is there whenever a tunnel is."""

    def __init__(self) -> None:
        self.relays: list[Relay] = []

    @asynccontextmanager
    async def open_relay(self, *args: Any, **options: Any) -> AsyncIterator[Relay]:
        async with relays.open_relay(*args, **options) as one:
            self.relays.append(one)
            try:
                yield one
            finally:
                self.relays.remove(one)

    async def start(self) -> None: ...

    def kill(self) -> None:
        for one in self.relays:
            one.abort()

    def freeze(self) -> None:
        for one in self.relays:
            for guest in one.guests:
                transport = guest.connection._transport
                assert isinstance(transport, asyncio.Transport)
                transport.pause_reading()

    def thaw(self) -> None: ...


def inside(folder: Path) -> Iterator[Setup]:
    far_end = Embedded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "open_relay", far_end.open_relay)
        yield Setup({"backend": "ssh"}, far_end)


def set_up(kind: Any, tmp_path: Path) -> Iterator[Setup]:
    folder = tmp_path / "server"
    folder.mkdir()
    yield from kind(folder)


@pytest.fixture(params=[openssh, relay, inside])
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setup]:
    yield from set_up(request.param, tmp_path)


@pytest.fixture(params=[openssh, relay])
def outside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setup]:
    yield from set_up(request.param, tmp_path)


async def test_traffic_arrives_intact_and_stop_leaves_nothing(setup: Setup, home: Path) -> None:
    await traffic_arrives_intact(setup.table, setup.far_end, home)


async def test_the_tunnel_comes_back_after_its_server_was_killed(setup: Setup, home: Path) -> None:
    await comes_back_after_a_restart(setup.table, setup.far_end)


async def test_a_frozen_server_is_noticed_and_left(outside: Setup, home: Path) -> None:
    await notices_a_frozen_server(outside.table, outside.far_end, reason="did not answer in time")


async def test_a_frozen_server_is_noticed_without_health_checks(setup: Setup, home: Path) -> None:
    keepalive = {"keepalive_interval": 0.3, "keepalive_count": 2}
    ssh = {**setup.table.get("ssh", {}), **keepalive}
    await setup.far_end.start()
    table = {**setup.table, "ssh": ssh, "connect_timeout": 2}
    async with running(table, health_check_interval=3600) as (tunnel, _):
        assert tunnel.info is not None
        url = tunnel.info.public_url
        statuses = tunnel.watch()
        setup.far_end.freeze()
        assert "no longer answers" in (await reached(statuses, Reconnecting)).reason
        setup.far_end.thaw()
        connected = await reached(statuses, Connected)
        if isinstance(setup.far_end, Embedded):
            assert connected.info.public_url == url
        await flows(tunnel)
