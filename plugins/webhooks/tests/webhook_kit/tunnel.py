"""A tunnel as an observer sees it, whose URL the test decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from prx_tunnel_webhooks.config import WebhooksConfig
from prx_tunnel_webhooks.observer import run

from prx_tunnel_core.config import validate
from prx_tunnel_core.models import Idle, TunnelStatus

PATIENCE = 20.0  # seconds: only a broken test waits this long
FAST = {"backoff_base_ms": 20, "backoff_max_ms": 40, "timeout": 10}


class WatchedTunnel:
    name = "default"
    status: TunnelStatus = Idle()

    def __init__(self) -> None:
        self._send, self._urls = anyio.create_memory_object_stream[str](16)

    def connect(self, url: str) -> None:
        self._send.send_nowait(url)

    def watch(self) -> AsyncIterator[TunnelStatus]:
        raise NotImplementedError

    def urls(self) -> AsyncIterator[str]:
        return self._urls

    def close(self) -> None:
        self._send.close()
        self._urls.close()


State = Callable[[], Mapping[str, str]]


@asynccontextmanager
async def observed(tables: Mapping[str, Any]) -> AsyncIterator[tuple[WatchedTunnel, State]]:
    """The observer with these `[webhooks.<name>]` tables, quick to try again, beside a tunnel."""
    config = validate(
        WebhooksConfig, {name: {**FAST, **table} for name, table in tables.items()}, path="webhooks"
    )
    tunnel = WatchedTunnel()
    try:
        async with run(config, tunnel) as state:
            yield tunnel, state
    finally:
        tunnel.close()


async def shows(state: State, name: str, words: str) -> str:
    """Wait until the state of that webhook has the words in it."""
    with anyio.fail_after(PATIENCE):
        while words not in state()[name]:
            await anyio.sleep(0.005)
    return state()[name]
