"""Fixtures of more than one test module; helpers that are no fixtures stand in `support/`."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prx_tunnel_core._plugins import find_installed
from support.distributions import Site, forget_modules_of
from support.probing import Resolver, without_proxies
from support.proc import Gate


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime directory, which nobody has made yet."""
    directory = tmp_path / "runtime"
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(directory))
    return directory


@pytest.fixture
def descriptors() -> Iterator[None]:
    """None is left open."""
    before = len(os.listdir("/dev/fd"))
    yield
    assert len(os.listdir("/dev/fd")) <= before


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path)
    yield made
    made.close()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Where plugins can be installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("PRX_TUNNEL_DISABLED_PLUGINS", raising=False)
    known = set(sys.modules)
    find_installed.cache_clear()
    yield Site(tmp_path)
    find_installed.cache_clear()
    forget_modules_of(tmp_path, known=known)


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxies(monkeypatch)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    resolver.gate.set()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    # No verdict is to depend on the network of the machine that runs the tests.
    monkeypatch.setattr("prx_tunnel_core._health.probe.online", lambda: True)
    yield resolver
    resolver.gate.set()
