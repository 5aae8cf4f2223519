"""Ask one question of a public URL, and clean up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from prx_tunnel_core.health import Prober
from prx_tunnel_core.models import Check
from support.http_server import Handler, serve

SHORT = 0.3  # seconds: for probes that have to run into their deadline
SETTLED = 1000.0  # seconds after connecting: nothing is new any more


def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)


async def ask(url: str, *, timeout: float = 30.0, connected_for: float = SETTLED) -> Check:
    check, _ = await ask_timed(url, timeout=timeout, connected_for=connected_for)
    return check


async def ask_timed(
    url: str, *, timeout: float = 30.0, connected_for: float = SETTLED
) -> tuple[Check, float | None]:
    prober = Prober(timeout=timeout)
    try:
        return await prober.public(url, connected_for=connected_for)
    finally:
        await prober.aclose()


async def ask_server(handler: Handler, *, timeout: float = 30.0) -> Check:
    async with serve(handler) as server:
        return await ask(server.url, timeout=timeout)


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
