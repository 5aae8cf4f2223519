"""Verify the signatures of webhooks, in every framework.

    github(headers, body, secret)                       a function; raises Rejected
    RouteGuard(github, secret)                          for one route of a framework
    VerifiedWebhooks(app, path, github, secret)         around an ASGI application

headers.py    one header, once
keys.py       a secret, or several
schemes.py    GitHub, Slack, Telegram, Stripe, Standard Webhooks: the headers first, then the body
deliveries.py deliveries that are known already
bodies.py     how many bodies are read at a time, and how long
verifier.py   the steps of a verification
routes.py     the guard of a route
asgi.py       the middleware
answers.py    responses without the application
"""

from __future__ import annotations

from prx_tunnel_webhooks.verify.asgi import VerifiedWebhooks
from prx_tunnel_webhooks.verify.deliveries import Deliveries
from prx_tunnel_webhooks.verify.headers import Headers, Rejected
from prx_tunnel_webhooks.verify.keys import Secret, Secrets
from prx_tunnel_webhooks.verify.routes import RouteGuard
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
    "RouteGuard",
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
