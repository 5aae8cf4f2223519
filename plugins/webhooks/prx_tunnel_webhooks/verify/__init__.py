"""Is what arrives from whom it says? Signatures of webhooks, as functions and as ASGI middleware.

    github(headers, body, secret)                       in any framework; raises Rejected
    VerifiedWebhooks(app, path, github, secret)         around an ASGI application

headers.py    one header, once
keys.py       a secret, or several
schemes.py    GitHub, Slack, Telegram, Stripe, Standard Webhooks
deliveries.py what has been delivered already
asgi.py       the middleware
"""

from __future__ import annotations

from prx_tunnel_webhooks.verify.asgi import VerifiedWebhooks
from prx_tunnel_webhooks.verify.deliveries import Deliveries
from prx_tunnel_webhooks.verify.headers import Headers, Rejected
from prx_tunnel_webhooks.verify.keys import Secret, Secrets
from prx_tunnel_webhooks.verify.schemes import (
    Delivery,
    Scheme,
    github,
    slack,
    standard_webhooks,
    stripe,
    telegram,
)

__all__ = [
    "Deliveries",
    "Delivery",
    "Headers",
    "Rejected",
    "Scheme",
    "Secret",
    "Secrets",
    "VerifiedWebhooks",
    "github",
    "slack",
    "standard_webhooks",
    "stripe",
    "telegram",
]
