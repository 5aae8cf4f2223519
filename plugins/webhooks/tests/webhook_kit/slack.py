"""Slack's API for app manifests: https://docs.slack.dev/reference/methods/apps.manifest.update."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

from webhook_kit.server import Asked, ProviderServer, Told, post

TOKEN = "xoxe.xoxp-1-configuration-token-canary"
REFRESH = "xoxe-1-refresh-token-canary"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
APP = "A012ABCD0A0"


class SlackServer(ProviderServer):
    """Every method answers 200, also when it refuses. It asks a new URL whether it wants events."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = {TOKEN}
        self.refresh_tokens = {REFRESH}
        self.updates = 0
        self.asks_the_url = False
        self.manifest: dict[str, Any] = {
            "display_information": {"name": "Agent"},
            "features": {"bot_user": {"display_name": "agent", "always_online": True}},
            "oauth_config": {"scopes": {"bot": ["chat:write"]}},
            "settings": {
                "event_subscriptions": {
                    "request_url": "https://old.example.com/slack",
                    "bot_events": ["app_mention"],
                },
                "socket_mode_enabled": False,
            },
        }
        self._rotations = 0

    @property
    def request_url(self) -> str:
        return str(self.manifest["settings"]["event_subscriptions"]["request_url"])

    def answer(self, asked: Asked) -> Told:
        method, form = asked.path.removeprefix("/"), asked.form
        if method == "tooling.tokens.rotate":
            return self._rotate(form)
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return _refused("token_expired" if token else "not_authed")
        if form.get("app_id") != APP:
            return _refused("invalid_app_id")
        match method:
            case "apps.manifest.export":
                return Told(200, {"ok": True, "manifest": self.manifest})
            case "apps.manifest.update":
                return self._update(json.loads(form["manifest"]))
            case _:
                return _refused("unknown_method")

    def _rotate(self, form: dict[str, str]) -> Told:
        if form.get("refresh_token") not in self.refresh_tokens:
            return _refused("invalid_refresh_token")
        self._rotations += 1
        token, refresh = f"{TOKEN}-{self._rotations}", f"{REFRESH}-{self._rotations}"
        self.tokens, self.refresh_tokens = {token}, {refresh}
        now = int(time.time())
        told = {"token": token, "refresh_token": refresh, "iat": now, "exp": now + 43_200}
        return Told(200, {"ok": True, **told, "team_id": "T0", "user_id": "U0"})

    def _update(self, manifest: dict[str, Any]) -> Told:
        subscriptions = manifest["settings"]["event_subscriptions"]
        if self.asks_the_url and not self._agrees(subscriptions["request_url"]):
            message = "Your URL didn't respond with the value of the challenge parameter."
            pointer = "/settings/event_subscriptions/request_url"
            return _refused("invalid_manifest", {"message": message, "pointer": pointer})
        self.manifest = manifest
        self.updates += 1
        return Told(200, {"ok": True, "app_id": APP, "permissions_updated": False})

    def _agrees(self, url: str) -> bool:
        challenge = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
        event = {"type": "url_verification", "token": "x", "challenge": challenge}
        try:
            status, body = self._send(url, event)
        except OSError:
            return False
        return status == 200 and challenge.encode() in body

    def deliver(self, event: dict[str, Any]) -> tuple[int, bytes]:
        return self._send(self.request_url, event)

    def _send(self, url: str, event: dict[str, Any]) -> tuple[int, bytes]:
        body, now = json.dumps(event).encode(), int(time.time())
        signed = b"v0:%d:%s" % (now, body)
        signature = hmac.new(SIGNING_SECRET.encode(), signed, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-Slack-Request-Timestamp": str(now),
            "X-Slack-Signature": f"v0={signature}",
        }
        return post(url, body, headers)


def _refused(error: str, *errors: dict[str, str]) -> Told:
    return Told(200, {"ok": False, "error": error, **({"errors": errors} if errors else {})})
