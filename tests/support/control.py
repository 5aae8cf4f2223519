"""A tunnel with its control socket, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread

from prx_tunnel_core import Tunnel
from prx_tunnel_core._control import client
from prx_tunnel_core._control.server import serve
from support.memory import FakeProber, Memory
from support.virtual import IsolatedTunnel, no_plugins


def tunnel_over(memory: Memory, prober: FakeProber | None = None, **options: Any) -> Tunnel:
    config = {"backend": "memory", "reconnect": {"backoff_base_ms": 60_000}}
    return IsolatedTunnel(
        config,
        backend=memory.backend(),
        plugins=no_plugins(),
        prober=prober or FakeProber(),
        **options,
    )


@asynccontextmanager
async def served(
    memory: Memory | None = None, prober: FakeProber | None = None, **options: Any
) -> AsyncIterator[Tunnel]:
    """A tunnel that is connected, and can be asked."""
    async with tunnel_over(memory or Memory(), prober) as tunnel, serve(tunnel, **options):
        await tunnel.start()
        yield tunnel


async def call(op: str, form: str = "text", name: str = "default") -> client.Reply:
    return await anyio.to_thread.run_sync(client.call, op, name, form)


async def status_is(tunnel: Tunnel, kind: str) -> None:
    with anyio.fail_after(10):
        while type(tunnel.status).__name__ != kind:
            await anyio.sleep(0.001)
