"""Flask on a server with threads, its tunnel closed at the end of the process."""

from __future__ import annotations

import os
import threading
from typing import Any

from flask import Flask, request

from prx_tunnel_core import blocking
from prx_tunnel_core.access import is_public_request, scope_of

app = Flask(__name__)
seen: list[str] = []
tunnel = blocking.start({"backend": "ssh", "local_port": int(os.environ["PORT"])}, wait=False)
tunnel.on_change(lambda status: seen.append(type(status).__name__))


@app.get("/")
def home() -> dict[str, Any]:
    return {
        "url": tunnel.info and tunnel.info.public_url,
        "public": is_public_request(scope_of(request.environ), tunnel.info),
        "thread": threading.current_thread().name,
        "seen": seen,
    }


@app.get("/health")
def health() -> dict[str, Any]:
    return {"verdict": tunnel.health_check().verdict}


if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]), threaded=True)
