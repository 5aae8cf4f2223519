"""Telegram's Bot API as far as webhooks go: https://core.telegram.org/bots/api.

It is the server that bot owners may run themselves (`telegram-bot-api --local`), which unlike
api.telegram.org takes http addresses and any port.
"""

from __future__ import annotations

import json
import re
from typing import Any

from webhook_kit.server import Asked, ProviderServer, Told, post

TOKEN = "123456789:AAfake-Token_of_a_bot_that_is_none0"
_CALL = re.compile(r"/bot(?P<token>[0-9]+:[A-Za-z0-9_-]{35})/(?P<method>[A-Za-z]+)")
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")


class TelegramServer(ProviderServer):
    def __init__(self) -> None:
        super().__init__()
        self.webhook: dict[str, Any] = {}
        self.sent: list[dict[str, Any]] = []
        """The messages that the bot sent."""
        self.pending = 0
        """Updates that wait for a webhook."""
        self._updates = 1000

    def answer(self, asked: Asked) -> Told:
        call = _CALL.fullmatch(asked.path)
        if call is None:
            return _refused(404, "Not Found")
        if call["token"] != TOKEN:
            return _refused(401, "Unauthorized")
        arguments = asked.json() if asked.body else asked.query
        match call["method"].lower():
            case "setwebhook":
                return self._set(arguments)
            case "deletewebhook":
                return self._set({**arguments, "url": ""})
            case "getwebhookinfo":
                return _done(self._info())
            case "sendmessage":
                self.sent.append(arguments)
                return _done({"message_id": len(self.sent)})
            case _:
                return _refused(404, "Not Found")

    def _set(self, arguments: dict[str, Any]) -> Told:
        url = arguments.get("url", "")
        secret = arguments.get("secret_token", "")
        if url and not re.match(r"https?://", url):
            return _refused(400, "Bad Request: bad webhook: An HTTPS URL must be provided")
        if secret and not _SECRET.fullmatch(secret):
            return _refused(400, "Bad Request: secret token contains unallowed characters")
        if arguments.get("drop_pending_updates"):
            self.pending = 0
        if not url:
            self.webhook = {}
            return _done(True, "Webhook was deleted")
        kept = self.webhook.get("allowed_updates")
        words = "is already" if self.webhook.get("url") == url else "was"
        self.webhook = {"allowed_updates": kept, **arguments}
        return _done(True, f"Webhook {words} set")

    def _info(self) -> dict[str, Any]:
        shown = {k: v for k, v in self.webhook.items() if k != "secret_token"}
        return {
            "url": "",
            "has_custom_certificate": False,
            "pending_update_count": self.pending,
            **shown,
        }

    def deliver(self, text: str, *, secret: str | None = None) -> tuple[int, bytes]:
        """Send a message to the bot by its webhook; its answer may be a call of the API."""
        self._updates += 1
        chat = {"id": 42, "type": "private"}
        update = {
            "update_id": self._updates,
            "message": {"message_id": 1, "date": 0, "chat": chat, "text": text},
        }
        secret = self.webhook.get("secret_token", "") if secret is None else secret
        headers = {
            "Content-Type": "application/json",
            "X-Telegram-Bot-Api-Secret-Token": secret,
        }
        status, answer = post(self.webhook["url"], json.dumps(update).encode(), headers)
        if status == 200 and answer.startswith(b"{") and b'"method"' in answer:
            self.sent.append(json.loads(answer))
        return status, answer


def _done(result: object, description: str = "") -> Told:
    told: dict[str, object] = {"ok": True, "result": result}
    return Told(200, {**told, "description": description} if description else told)


def _refused(code: int, description: str) -> Told:
    return Told(code, {"ok": False, "error_code": code, "description": description})
