"""A Telegram bot behind a tunnel: it answers each message by its webhook."""

from __future__ import annotations

import os
from typing import Any

from fastapi import Depends, FastAPI, Request
from prx_tunnel_webhooks import verify

from prx_tunnel_core.asgi import lifespan

PATH = "/webhooks/telegram"  # as in config.toml

app = FastAPI(lifespan=lifespan())  # the tunnel and the webhooks of $PRX_CONFIG
telegram = verify.RouteGuard(verify.telegram, os.environ["TELEGRAM_WEBHOOK_SECRET"])


@app.post(PATH, dependencies=[Depends(telegram.fastapi)])
async def take(request: Request) -> dict[str, Any]:
    message = (await request.json()).get("message") or {}
    if "text" not in message:
        return {}
    # Telegram takes the answer to a webhook as a call of its API: no token is needed here.
    return {
        "method": "sendMessage",
        "chat_id": message["chat"]["id"],
        "text": f"You said: {message['text']}",
    }


@app.get("/")
async def where(request: Request) -> dict[str, str | None]:
    info = request.state.tunnel.info
    return {"public_url": info.public_url if info else None}
