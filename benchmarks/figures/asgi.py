"""Requests through a host's ASGI application, with the tunnel started and without."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.harness.bench import Bench
from benchmarks.harness.model import Figure, Mark
from benchmarks.harness.sampling import row
from prx_tunnel_core.asgi import with_tunnel

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

ROUND = 100  # requests of one kind before the next kind has its turn


def measure(bench: Bench) -> Figure:
    figure = Figure("asgi", "Requests through a host's ASGI application")
    found = bench.work(__name__, bench.programs.patient, bench.rounds(15, 100))
    figure.rows += [
        row("with the tunnel started", "ours", "µs", found["with"], scale=1e6),
        row("without", "floor", "µs", found["without"], scale=1e6),
        row("without, once more", "floor", "µs", found["again"], scale=1e6),
    ]
    ours, bare, again = figure.rows
    # Less than what one request differs from the next, or the same application from itself.
    noise = max(abs(again.median - bare.median), bare.high - bare.low)
    added = max(ours.median - bare.median, 0)
    figure.marks.append(
        Mark("added latency, of the spread of requests without", added / noise, "<=", 1)
    )
    figure.notes.append(f"added to a request: {added:.2f} µs")
    return figure


async def work(program: str, rounds: int) -> dict[str, list[float]]:
    """Each request, for each of the three."""
    found: dict[str, list[float]] = {"with": [], "without": [], "again": []}
    host = with_tunnel(_app, _table(program))
    async with _served(host) as ours, _served(_app) as bare, _served(_app) as again:
        ports = {"with": ours, "without": bare, "again": again}
        clients = {name: await asyncio.open_connection("127.0.0.1", ports[name]) for name in ports}
        for number in range(rounds + 1):
            for name, client in clients.items():
                seconds = await _requests(*client)
                if number:
                    found[name] += seconds
        for _, writer in clients.values():
            writer.close()
    return found


def _table(program: str) -> dict[str, object]:
    custom = {"command": [program], "url_pattern": "trycloudflare.com"}
    return {"backend": "custom", "local_port": 3000, "health_check_url": False, "custom": custom}


async def _app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[float]:
    seconds = []
    for _ in range(ROUND):
        begun = time.perf_counter()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        seconds.append(time.perf_counter() - begun)
    return seconds


@asynccontextmanager
async def _served(app: App) -> AsyncIterator[int]:
    """A server that knows just enough of HTTP, and of ASGI's lifespan."""
    told: asyncio.Queue[Message] = asyncio.Queue()
    said: asyncio.Queue[Message] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "state": state}
    life = asyncio.ensure_future(app(scope, told.get, said.put))
    told.put_nowait({"type": "lifespan.startup"})
    await said.get()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                writer.write(b"HTTP/1.1 %d No Content\r\n\r\n" % message["status"])

        while await reader.readline():
            while await reader.readline() != b"\r\n":
                pass
            scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": state}
            await app(scope, _nothing, send)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        await asyncio.sleep(0.3)  # the tunnel opens beside the application
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        told.put_nowait({"type": "lifespan.shutdown"})
        await life


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(sys.argv[1], int(sys.argv[2])))))
