"""`[webhooks.<name>]`: webhooks that are registered again whenever the tunnel has a new URL.

config.py       the tables, and which class reads which `kind`
hook.py         what every kind has in common
telegram.py, github.py, slack.py, template.py   one provider each
registration.py one webhook kept registered: the newest URL, back-off, the state that is shown
observer.py     beside a tunnel: follows its URLs
api.py          one request to a provider's API
verify/         the signatures of incoming webhooks
"""

from __future__ import annotations

from collections.abc import Iterable

from prx_tunnel_core.backend import AnyObserver, Observer
from prx_tunnel_core.hookspecs import hookimpl
from prx_tunnel_core.urls import join

__all__ = ["prx_tunnel_observers", "webhook_url"]


def webhook_url(public_url: str, path: str) -> str:
    """The address for the sender of webhooks: `path` below the tunnel's public URL."""
    return join(public_url, path)


@hookimpl
def prx_tunnel_observers() -> Iterable[AnyObserver]:
    # Imported here: verification alone needs neither pydantic nor an HTTP client.
    from prx_tunnel_webhooks.config import WebhooksConfig
    from prx_tunnel_webhooks.observer import run

    yield Observer(
        name="webhooks",
        summary="registers webhooks again when the URL is new: Telegram, GitHub, Slack, any API",
        config=WebhooksConfig,
        run=run,
    )
