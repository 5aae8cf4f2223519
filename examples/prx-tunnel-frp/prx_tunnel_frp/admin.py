"""The state of the proxy, from frpc's own web server: `GET /api/status`, since frp 0.10."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from prx_tunnel_frp.frpc_file import Access

PATIENCE = 5.0  # seconds; it answers from memory


@dataclass(frozen=True)
class Proxy:
    status: str
    """`new`, `wait start`, `start error`, `running`, `check failed` or `closed`."""
    error: str
    address: str
    """Where frps accepts connections for it: `host:port`; for TCP the host may be missing."""


class Admin:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def proxy(self, name: str) -> Proxy | None:
        """None when frpc has no session with frps; raises httpx.HTTPError without an answer."""
        answer = await self._client.get("/api/status")
        answer.raise_for_status()
        kinds: dict[str, list[dict[str, Any]]] = answer.json()
        for each in (proxy for proxies in kinds.values() for proxy in proxies):
            if each["name"] == name:
                return Proxy(each["status"], each["err"], each["remote_addr"])
        return None


@asynccontextmanager
async def open_admin(access: Access) -> AsyncIterator[Admin]:
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{access.port}",
        auth=(access.user, access.password),
        timeout=PATIENCE,
        trust_env=False,  # a proxy of the user is not for loopback
        verify=False,  # no TLS there; loading the authorities would stall the event loop
    ) as client:
        yield Admin(client)
