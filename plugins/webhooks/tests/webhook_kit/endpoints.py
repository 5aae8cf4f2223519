"""An API of nobody in particular: `PUT /endpoints/<name>` sets where webhooks go."""

from __future__ import annotations

import base64
import json
import time
import uuid
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from webhook_kit.server import Asked, ProviderServer, Told, post

KEY = "an-api-key-canary"
SIGNING_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class EndpointServer(ProviderServer):
    def __init__(self) -> None:
        super().__init__()
        self.endpoints: dict[str, str] = {}

    def answer(self, asked: Asked) -> Told:
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            return Told(403, {"error": "forbidden"})
        name = asked.path.rpartition("/")[2]
        if asked.method == "DELETE":
            self.endpoints.pop(name, None)
            return Told(204)
        self.endpoints[name] = asked.json()["url"]
        return Told(200, {"id": name})

    def deliver(self, name: str, event: object) -> tuple[int, bytes]:
        """Signed by the rules of Standard Webhooks."""
        body, delivery = json.dumps(event), f"msg_{uuid.uuid4().hex}"
        now = datetime.fromtimestamp(int(time.time()), tz=UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": delivery,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(SIGNING_SECRET).sign(delivery, now, body),
        }
        return post(self.endpoints[name], body.encode(), headers)
