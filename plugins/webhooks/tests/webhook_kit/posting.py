"""A delivery to an application in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx

from prx_tunnel_core.middleware import App
from webhook_kit.signing import BODY

PATH = "/webhooks/github"


def post(app: App, headers: Mapping[str, str], body: bytes = BODY, path: str = PATH) -> int:
    async def send() -> int:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.post(path, content=body, headers=dict(headers))
        return answer.status_code

    return asyncio.run(send())
