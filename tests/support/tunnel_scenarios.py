"""What every backend has to do with a real server at the far end, whatever the program is.

Each scenario takes the tunnel's table and its server, and runs the tunnel under the real
supervisor between a real HTTP client and a real local port.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio
import anyio.abc
import httpx
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

from prx_tunnel_core._health import Prober, online
from prx_tunnel_core.models import Connected, Reconnecting, Stopped, TunnelStatus
from prx_tunnel_core.process._reaper import sweep
from prx_tunnel_core.tunnel import Tunnel
from support.proc import children, descriptors, until
from support.virtual import IsolatedTunnel

PATIENCE = 30.0  # seconds: only a broken test waits this long
PROBE = 0.5  # seconds that a health check waits for an answer
BIG = 5_000_000  # bytes
CROWD = 200
ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"

StatusT = TypeVar("StatusT", bound=TunnelStatus)


class FarEnd(Protocol):
    """The tunnel's server."""

    async def start(self) -> None: ...
    def kill(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


class EchoApp:
    """The program behind the tunnel: it answers each request with the body that it got."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.open = 0
        """Connections that are open now."""
        self.wait_for(1)

    def wait_for(self, requests: int) -> None:
        """Answer none of the next requests before so many have arrived, and so are under way."""
        self._missing = requests
        self._all_here = anyio.Event()

    async def answer(self, stream: anyio.abc.SocketStream) -> None:
        self.open += 1
        try:
            async with stream:
                await self._echo(stream)
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            pass  # a health check of the port only connects
        finally:
            self.open -= 1

    async def _echo(self, stream: anyio.abc.SocketStream) -> None:
        received = BufferedByteReceiveStream(stream)
        head = await received.receive_until(b"\r\n\r\n", 65_536)
        lines = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
        body = await received.receive_exactly(int(lines.get(b"content-length", 0)))
        self._missing -= 1
        if self._missing <= 0:
            self._all_here.set()
        await self._all_here.wait()
        await stream.send(ANSWER % len(body))
        await stream.send(body)


@asynccontextmanager
async def echo_app() -> AsyncIterator[EchoApp]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=2 * CROWD)
    app = EchoApp(listener.extra(SocketAttribute.local_port))
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, app.answer)
        yield app
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def running(
    table: Mapping[str, Any], **settings: Any
) -> AsyncIterator[tuple[Tunnel, EchoApp]]:
    """A started tunnel to a running app; `table` are the keys of `[tunnel]` but for the port."""
    reconnect = {"backoff_base_ms": 50, "backoff_max_ms": 100, "max_attempts": 0}
    async with echo_app() as app:
        config = {"local_port": app.port, "reconnect": reconnect, **table, **settings}
        async with IsolatedTunnel(config, prober=Prober(timeout=PROBE), online=online) as tunnel:
            with anyio.fail_after(PATIENCE):
                await tunnel.start()
            yield tunnel, app


def http_client() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(trust_env=False, timeout=PATIENCE, limits=limits)


async def echoed(client: httpx.AsyncClient, url: str, body: bytes) -> None:
    answer = await client.post(f"{url}/hook", content=body)
    assert answer.status_code == 200
    assert answer.content == body


async def flows(tunnel: Tunnel) -> None:
    """One request goes through the tunnel as it is now."""
    assert tunnel.info is not None
    async with http_client() as client:
        await echoed(client, tunnel.info.public_url, os.urandom(1000))


async def reached(statuses: AsyncIterator[TunnelStatus], kind: type[StatusT]) -> StatusT:
    """The next status of that kind."""
    with anyio.fail_after(PATIENCE):
        async for status in statuses:
            if isinstance(status, kind):
                return status
    raise AssertionError(f"the tunnel ended before it was {kind.__name__}")


@contextmanager
def leaving_nothing(home: Path) -> Iterator[None]:
    """No process, no socket and no file more than before; `home` is all that programs may fill."""

    def held() -> tuple[set[int], int, list[Path]]:
        sockets = [link for link in descriptors().values() if link.startswith("socket:")]
        return children(), len(sockets), sorted(home.rglob("*"))

    before = held()
    yield
    assert held() == before
    assert not sweep.running()


async def traffic_arrives_intact(table: Mapping[str, Any], far_end: FarEnd, home: Path) -> None:
    """5 MB of any bytes and 200 requests at once; then nothing is left behind."""
    await far_end.start()
    with leaving_nothing(home):
        async with running(table) as (tunnel, app), http_client() as client:
            assert tunnel.info is not None
            url = tunnel.info.public_url
            assert (await tunnel.health_check()).verdict == "healthy"
            with anyio.fail_after(PATIENCE):
                await echoed(client, url, os.urandom(BIG))
                app.wait_for(CROWD)
                async with anyio.create_task_group() as tasks:
                    for number in range(CROWD):
                        body = b"%d:" % number + os.urandom(2000)
                        tasks.start_soon(echoed, client, url, body)
            await tunnel.stop()
            assert tunnel.status == Stopped()
            await until(lambda: app.open == 0)
            await nobody_listens(url)


async def nobody_listens(url: str) -> None:
    """The server has closed the port; it hears of the end a moment after the client's."""
    address = httpx.URL(url)
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                stream = await anyio.connect_tcp(address.host, address.port or 80)
            except OSError:
                return
            await stream.aclose()
            await anyio.sleep(0.01)


async def comes_back_after_a_restart(table: Mapping[str, Any], far_end: FarEnd) -> None:
    await far_end.start()
    async with running(table, connect_timeout=5) as (tunnel, _):
        await flows(tunnel)
        statuses = tunnel.watch()
        far_end.kill()
        dropped = await reached(statuses, Reconnecting)
        assert dropped.reason
        assert tunnel.info is None
        await far_end.start()
        await reached(statuses, Connected)
        await flows(tunnel)


async def notices_a_frozen_server(
    table: Mapping[str, Any], far_end: FarEnd, *, reason: str = "not connected within 1 s"
) -> None:
    """Every process lives and every connection is open, but nothing goes through.

    `reason` is the backend's own for an attempt that takes too long, or else core's.
    """
    await far_end.start()
    checked = {"health_check_interval": 1, "health_check_failures": 1, "connect_timeout": 1}
    async with running(table, **checked) as (tunnel, _):
        await flows(tunnel)
        statuses = tunnel.watch()
        far_end.freeze()
        dropped = await reached(statuses, Reconnecting)
        assert "health check" in dropped.reason
        assert reason in (await reached(statuses, Reconnecting)).reason
        far_end.thaw()
        await reached(statuses, Connected)
        await flows(tunnel)
