"""Starlette with a lifespan of its own, and the middleware for visitors."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from prx_tunnel_core.access import TunnelAdmission, bearer_token
from prx_tunnel_core.asgi import lifespan

TUNNEL = json.loads(os.environ.get("TUNNEL", '{"backend": "ssh"}'))
TUNNEL["local_port"] = int(os.environ["PORT"])


async def home(request: Request) -> JSONResponse:
    info = request.state.tunnel.info
    return JSONResponse(
        {
            "url": info and info.public_url,
            "public": request.scope["prx_tunnel_public"],
            "client": request.client and request.client.host,
            "own": request.state.database,
        }
    )


@asynccontextmanager
async def own(app: Starlette) -> AsyncIterator[dict[str, int]]:
    if "CRASH" in os.environ:
        raise RuntimeError("the database is gone")
    yield {"database": 5}


admission = Middleware(
    TunnelAdmission,
    guard=bearer_token("correct-horse-battery"),
    unguarded=["/", "/hook"],
    private_ports=[int(os.environ.get("PRIVATE_PORT", "0"))],
)
app = Starlette(
    routes=[Route("/", home), Route("/admin", home)],
    middleware=[admission],
    lifespan=lifespan(TUNNEL, own=own, wait="WAIT" in os.environ),
)
