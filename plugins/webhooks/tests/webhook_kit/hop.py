"""A backend for every event loop: a port on loopback, and another after each drop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc

from prx_tunnel_core import Backend, BackendConfig, Connection, Target


class Hop(Connection):
    def __init__(self, port: int) -> None:
        self.public_url = f"http://127.0.0.1:{port}"
        self._severed = anyio.Event()

    async def wait_closed(self) -> str:
        await self._severed.wait()
        return "severed"

    async def abort(self) -> bool:
        self._severed.set()
        return True


@asynccontextmanager
async def hop(_config: BackendConfig, target: Target) -> AsyncIterator[Connection]:
    async def forward(visitor: anyio.abc.SocketStream) -> None:
        local = await anyio.connect_tcp(target.host, target.port)
        async with visitor, local, anyio.create_task_group() as tasks:
            tasks.start_soon(copy, visitor, local)
            await copy(local, visitor)
            tasks.cancel_scope.cancel()

    async def copy(source: anyio.abc.SocketStream, sink: anyio.abc.SocketStream) -> None:
        async for chunk in source:
            await sink.send(chunk)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, forward)
        yield Hop(listener.extra(anyio.abc.SocketAttribute.local_port))
        tasks.cancel_scope.cancel()


BACKEND = Backend(name="hop", summary="for tests", config=BackendConfig, connect=hop)
