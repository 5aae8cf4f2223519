"""An agent without a framework: asyncio, a queue of events, and a sender of Standard Webhooks."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from typing import Any

import h11
from prx_tunnel_webhooks import verify

from prx_tunnel_core import Connected, Tunnel, TunnelError, load

PATH = b"/webhooks/events"  # as in config.toml
SECRET = os.environ["WEBHOOK_SECRET"]
LARGEST_BODY = 1024 * 1024  # bytes
PATIENCE = 10.0  # seconds for one request

logger = logging.getLogger("agent")


class Inbox:
    """Takes one request from each connection; what is signed becomes an event."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=100)
        self._seen = verify.Deliveries()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        try:
            async with asyncio.timeout(PATIENCE):
                status = await self._answer(http, reader)
                writer.write(_response(http, status))
                await writer.drain()
        except (TimeoutError, ConnectionError, h11.ProtocolError):
            pass  # too slow, gone, or no HTTP
        finally:
            writer.close()

    async def _answer(self, http: h11.Connection, reader: asyncio.StreamReader) -> int:
        request, body = None, b""
        while not isinstance(event := await _next(http, reader), h11.EndOfMessage):
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            if len(body) > LARGEST_BODY:
                return 413
        assert request is not None
        return self._take(request, body) if request.target == PATH else 404

    def _take(self, request: h11.Request, body: bytes) -> int:
        try:
            delivery = verify.standard_webhooks(request.headers, body, SECRET)
        except verify.Rejected as reason:
            logger.info("refused: %s", reason)
            return 401
        if self._seen.begin(delivery.id) != "new":
            return 200
        try:
            self.events.put_nowait(json.loads(body))
        except asyncio.QueueFull:
            self._seen.end(delivery.id, taken=False)
            return 503  # the sender tries again
        self._seen.end(delivery.id, taken=True)
        return 202


async def _next(http: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await reader.read(65_536))
    return event


def _response(http: h11.Connection, status: int) -> bytes:
    headers = [("content-length", "0"), ("connection", "close")]
    head = http.send(h11.Response(status_code=status, headers=headers)) or b""
    return head + (http.send(h11.EndOfMessage()) or b"")


async def say_where(tunnel: Tunnel) -> None:
    async for status in tunnel.watch():
        if isinstance(status, Connected):
            logger.info("reachable at %s", status.info.public_url)


async def open_tunnel(tunnel: Tunnel) -> None:
    try:
        await tunnel.start()
    except TunnelError as error:
        logger.warning("only on this machine: %s", error)


async def work(inbox: Inbox) -> None:
    while True:
        event = await inbox.events.get()
        logger.info("event: %s", event.get("type"))


async def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = load()  # $PRX_CONFIG
    inbox = Inbox()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(inbox.serve, "127.0.0.1", config.tunnel.local_port)
    tunnel = Tunnel(config.tunnel, tables=config.tables)
    async with server, tunnel, asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(say_where(tunnel)),
            tasks.create_task(work(inbox)),
            tasks.create_task(open_tunnel(tunnel)),
        ]
        await stop.wait()
        for task in running:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
