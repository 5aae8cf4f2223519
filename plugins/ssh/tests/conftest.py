"""What the tests stand on; the programs are in ssh_programs.py."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

# Test modules are imported by their path (importlib mode), so they find no neighbour otherwise.
sys.path.insert(0, os.path.dirname(__file__))

from ssh_programs import PATIENCE, App, OpenSSHServer, StandaloneRelay, find_program, listening


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's own keys, agent or known hosts take part."""
    path = tmp_path / "home"
    (path / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return path


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def unused_port() -> int:
    return find_port()


@pytest.fixture
def sshd(tmp_path: Path) -> OpenSSHServer:
    find_program("sshd")
    directory = tmp_path / "sshd"
    directory.mkdir()
    return OpenSSHServer(directory, find_port())


@pytest.fixture
def relay(tmp_path: Path) -> StandaloneRelay:
    directory = tmp_path / "relay"
    directory.mkdir()
    return StandaloneRelay(directory, find_port())


@pytest.fixture
async def app() -> AsyncIterator[App]:
    app = App()
    async with listening(app.answer) as app.target:
        yield app


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=250, max_keepalive_connections=0)
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE, limits=limits) as client:
        yield client


@pytest.fixture(autouse=True)
def _open_files() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    yield
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after <= before, "descriptors were left open"
