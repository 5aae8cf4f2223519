"""An ASGI application without a framework."""

from __future__ import annotations

import json
import os
from typing import Any

from prx_tunnel_core.asgi import with_tunnel


async def plain(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    info = scope["state"]["tunnel"].info
    body = json.dumps({"url": info and info.public_url, "pid": os.getpid()}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


app = with_tunnel(plain, {"backend": "ssh", "local_port": int(os.environ["PORT"])})
