"""FastAPI, configured by the file."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request

from prx_tunnel_core.asgi import lifespan

app = FastAPI(lifespan=lifespan())


@app.get("/")
async def home(request: Request) -> dict[str, Any]:
    tunnel = request.state.tunnel
    return {"url": tunnel.info and tunnel.info.public_url, "attached": tunnel.attached}
