"""How each provider signs: apart from the code that verifies it."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime

from prx_tunnel_webhooks import verify
from standardwebhooks.webhooks import Webhook

BODY = '{"id": "evt_1", "event_id": "Ev1", "update_id": 7, "name": "Grüße"}'.encode()
SECRET = "a-secret"
STANDARD = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()

Sign = Callable[..., dict[str, str]]


def hexdigest(secret: str, content: bytes, algorithm: str = "sha256") -> str:
    return hmac.new(secret.encode(), content, algorithm).hexdigest()


def sign_github(body: bytes = BODY, secret: str = SECRET, at: float = 0) -> dict[str, str]:
    signature = f"sha256={hexdigest(secret, body)}"
    return {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": "72d3162e"}


def sign_slack(body: bytes = BODY, secret: str = SECRET, at: float = 0) -> dict[str, str]:
    moment = str(int(time.time() + at))
    signature = f"v0={hexdigest(secret, f'v0:{moment}:'.encode() + body)}"
    return {"X-Slack-Request-Timestamp": moment, "X-Slack-Signature": signature}


def sign_telegram(body: bytes = BODY, secret: str = SECRET, at: float = 0) -> dict[str, str]:
    return {"X-Telegram-Bot-Api-Secret-Token": secret}


def sign_stripe(body: bytes = BODY, secret: str = SECRET, at: float = 0) -> dict[str, str]:
    moment = str(int(time.time() + at))
    return {"Stripe-Signature": f"t={moment},v1={hexdigest(secret, f'{moment}.'.encode() + body)}"}


def sign_standard(body: bytes = BODY, secret: str = STANDARD, at: float = 0) -> dict[str, str]:
    moment = datetime.fromtimestamp(int(time.time() + at), tz=UTC)
    signature = Webhook(secret).sign("msg_1", moment, body.decode())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": signature,
    }


SCHEMES: dict[str, tuple[verify.Scheme, Sign, str, str]] = {
    "github": (verify.github, sign_github, SECRET, "72d3162e"),
    "slack": (verify.slack, sign_slack, SECRET, "Ev1"),
    "telegram": (verify.telegram, sign_telegram, SECRET, "7"),
    "stripe": (verify.stripe, sign_stripe, SECRET, "evt_1"),
    "standard": (verify.standard_webhooks, sign_standard, STANDARD, "msg_1"),
}
SIGNED = [name for name in SCHEMES if name != "telegram"]
TIMED = ["slack", "stripe", "standard"]
