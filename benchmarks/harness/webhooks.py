"""A webhook, and an agent that takes it: as little HTTP as both need."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

BODY = b'{"action": "opened"}' * 50
_REQUEST = b"POST /hook HTTP/1.1\r\nHost: agent\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
_ANSWER = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


class Agent:
    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(len(_REQUEST))
            writer.write(_ANSWER)
        except asyncio.IncompleteReadError:
            pass  # somebody who only looks whether the port is open
        finally:
            writer.close()


async def deliver(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_REQUEST)
    answer = await reader.readline()
    writer.close()
    if b" 204 " not in answer:
        raise RuntimeError(f"the webhook was not delivered: {answer!r}")
