"""cloudflared's metrics server, the only reliable source of its state.

`/ready` is 200 if and only if an edge connection is registered; `/quicktunnel` names the quick
tunnel; `/config` is the configuration in force; `/metrics` counts refused registrations.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import anyio

PATIENCE = 2.0  # seconds for one answer; it takes about a millisecond
_LARGEST = 1024 * 1024  # bytes; /metrics has about 40 000

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")
_REGISTRATIONS = re.compile(
    r"^cloudflared_tunnel_tunnel_register_(?P<what>success|fail)\{(?P<labels>[^}\n]*)\} "
    r"(?P<count>[0-9.e+]+)$",
    re.MULTILINE,
)


class NoAnswer(Exception):
    """The answer is missing, or is not that of our cloudflared."""


@dataclass(frozen=True, slots=True)
class Registrations:
    succeeded: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics server of one cloudflared process."""

    port: int
    connector_id: str | None = None
    """The expected connector, if known: another process may have got the port meanwhile."""

    async def edge_connections(self) -> int:
        """How many edge connections are registered. Raises NoAnswer."""
        answer = await self._json("/ready")
        connector = answer.get("connectorId")
        if None not in (connector, self.connector_id) and connector != self.connector_id:
            raise NoAnswer("another program answers on the metrics port")
        return _count(answer.get("readyConnections"))

    async def quick_hostname(self) -> str:
        """The quick tunnel's host name, as the server says it; empty for others."""
        return str((await self._json("/quicktunnel")).get("hostname") or "")

    async def configuration(self) -> dict[str, Any]:
        """The configuration in force, `version` -1 when it did not come from Cloudflare."""
        return await self._json("/config")

    async def registrations(self) -> Registrations:
        """How many registrations of an edge connection succeeded, and were refused."""
        counts = {"success": 0, "fail": 0}
        for match in _REGISTRATIONS.finditer(
            (await self._get("/metrics")).decode("utf-8", "replace")
        ):
            # `dup_edge_conn`: the same edge server twice; cloudflared asks another.
            if "dup_edge_conn" not in match["labels"]:
                counts[match["what"]] += int(float(match["count"]))
        return Registrations(counts["success"], counts["fail"])

    async def _json(self, path: str) -> dict[str, Any]:
        try:
            answer = json.loads(await self._get(path))
        except (ValueError, RecursionError):
            raise NoAnswer("what answers on the metrics port is not cloudflared") from None
        if not isinstance(answer, dict):
            raise NoAnswer("what answers on the metrics port is not cloudflared")
        return answer

    async def _get(self, path: str) -> bytes:
        try:
            with anyio.fail_after(PATIENCE):
                answer = await _exchange(self.port, path)
        except (OSError, anyio.BrokenResourceError) as error:
            raise NoAnswer(f"the metrics server does not answer: {error}") from None
        head, separator, body = answer.partition(b"\r\n\r\n")
        # /ready says 503 while not connected, with the same body.
        status = _STATUS.match(head)
        if not separator or status is None or status[1] not in (b"200", b"503"):
            raise NoAnswer("what answers on the metrics port is not cloudflared")
        return body


async def _exchange(port: int, path: str) -> bytes:
    """One request in HTTP/1.0, which is answered whole and ends with the connection.

    No client library: importing one costs more than all requests of a day.
    """
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        answer = bytearray()
        async for chunk in stream:
            answer += chunk
            if len(answer) > _LARGEST:
                raise NoAnswer("what answers on the metrics port is not cloudflared")
        return bytes(answer)


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
