"""Ask one question of a public URL, and clean up; and who is asked for its address."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from prx_tunnel_core._health import Prober
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core.backend import Backend
from prx_tunnel_core.models import Check
from support.http_server import Handler, serve

SHORT = 0.3  # seconds: for probes that have to run into their deadline
SETTLED = 1000.0  # seconds after connecting: nothing is new any more


def installed(name: str) -> Backend[Any]:
    """A backend of this project, with what it knows of its provider's pages."""
    return PluginRegistry(environ={}).backend(name)


def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)


async def ask(
    url: str,
    *,
    timeout: float = 30.0,
    connected_for: float = SETTLED,
    backend: Backend[Any] | None = None,
) -> Check:
    check, _ = await ask_timed(url, timeout=timeout, connected_for=connected_for, backend=backend)
    return check


async def ask_timed(
    url: str,
    *,
    timeout: float = 30.0,
    connected_for: float = SETTLED,
    backend: Backend[Any] | None = None,
) -> tuple[Check, float | None]:
    prober = Prober(timeout=timeout, backend=backend)
    try:
        return await prober.public(url, connected_for=connected_for)
    finally:
        await prober.aclose()


async def ask_server(
    handler: Handler, *, timeout: float = 30.0, backend: Backend[Any] | None = None
) -> Check:
    async with serve(handler) as server:
        return await ask(server.url, timeout=timeout, backend=backend)


@dataclass
class Resolver:
    """In the place of `socket.getaddrinfo`."""

    asked: list[str] = field(default_factory=list)
    error: socket.gaierror | None = None
    addresses: tuple[str, ...] = ("127.0.0.1",)
    gate: threading.Event = field(default_factory=threading.Event)

    def __call__(
        self, host: str | bytes, port: int, *args: int, **options: int
    ) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        name = host if isinstance(host, str) else host.decode()
        literal = name in {"127.0.0.1", "::1"}  # loops ask for addresses all the same
        if not literal:
            self.asked.append(name)
            assert self.gate.wait(60)
            if self.error is not None:
                raise self.error
        found = (name,) if literal else self.addresses
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, int(port), 0, 0))
            if ":" in each
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, int(port)))
            for each in found
        ]


async def a_slow_resolver_blocks_nobody(resolver: Resolver, name: str) -> None:
    resolver.gate.clear()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.sleep(0.01)
            ticks += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        check = await ask(f"https://{name}", timeout=SHORT)
        tasks.cancel_scope.cancel()
    assert check == Check("public", "fail", "no answer within 0.3 s")
    assert ticks >= 3


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port that takes connections no more, and refuses none: as behind a firewall."""
    with ExitStack() as held:
        server = held.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield address[1]
