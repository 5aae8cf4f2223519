"""The program behind the tunnel, which takes what its providers signed."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Self

import uvicorn
from prx_tunnel_webhooks import verify
from prx_tunnel_webhooks.verify.asgi import App, Receive, Scope, Send

from webhook_kit import endpoints, slack
from webhook_kit.server import PATIENCE

TELEGRAM_SECRET = "telegram-secret-canary"
GITHUB_SECRET = "github-secret-canary"


class Agent:
    """Takes only what its providers signed; a real server in a thread of its own."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, Any]] = []
        app: App = self._take
        for path, scheme, secret in (
            ("/telegram", verify.telegram, TELEGRAM_SECRET),
            ("/github", verify.github, GITHUB_SECRET),
            ("/slack", verify.slack, slack.SIGNING_SECRET),
            ("/own", verify.standard_webhooks, endpoints.SIGNING_SECRET),
        ):
            app = verify.VerifiedWebhooks(app, path, scheme, secret)
        config = uvicorn.Config(
            app, port=0, ws="none", lifespan="off", log_level="critical", timeout_keep_alive=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + PATIENCE
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        event = json.loads((await receive())["body"] or b"{}")
        answer = event.get("challenge", "").encode()
        if not answer:
            self.arrived.append((scope["path"], event))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})
