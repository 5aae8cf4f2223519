"""Litestar, in both ways."""

from __future__ import annotations

import os
from typing import Any

from litestar import Litestar, Request, get

from prx_tunnel_core.asgi import lifespan, with_tunnel

CONFIG = {"backend": "ssh", "local_port": int(os.environ["PORT"])}


@get("/")
async def home(request: Request[Any, Any, Any]) -> dict[str, Any]:
    state = request.app.state if "tunnel" in request.app.state else request.state
    return {"url": state.tunnel.info and state.tunnel.info.public_url}


own = Litestar([home], lifespan=[lifespan(CONFIG)])
app = with_tunnel(Litestar([home]), CONFIG)
