"""The public host name of a tunnel that is up.

It comes from the configuration or from cloudflared's metrics server, never from the log: the log's
first URLs are the terms of service, and its errors name api.trycloudflare.com.
"""

from __future__ import annotations

import anyio

from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.ingress import Ingress, read_ingress
from prx_tunnel_cloudflare.metrics import Metrics, NoAnswer
from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import ConnectError, SetupError
from prx_tunnel_core.urls import UrlRule

PUSHED_WITHIN = 15.0  # seconds; it takes a tenth of one
_LOOK_EVERY = 0.1

QUICK_TUNNEL = UrlRule(
    hosts=("trycloudflare.com",), not_hosts=("api.trycloudflare.com", "www.trycloudflare.com")
)


async def public_hostname(config: CloudflareConfig, target: Target, metrics: Metrics) -> str:
    """The host name under which the tunnel is reached. Raises SetupError or ConnectError."""
    if config.hostname is not None:
        return config.hostname
    try:
        if config.kind == "quick":
            return accept_quick_hostname(await metrics.quick_hostname())
        ingress = await _pushed(metrics)
    except NoAnswer as reason:
        raise ConnectError(f"the tunnel's name is not known: {reason}") from None
    hostname = ingress.public_hostname(target)
    if hostname is None:
        what = "has no public host name" if ingress.pushed else "is not managed in the dashboard"
        raise SetupError(
            f"the tunnel {what}; add one in Cloudflare's dashboard, or say in "
            "tunnel.cloudflare.hostname under which name it is reached"
        )
    return hostname


def accept_quick_hostname(hostname: str) -> str:
    """The name, if it is a quick tunnel's; ConnectError otherwise."""
    try:
        url = QUICK_TUNNEL.accept(f"https://{hostname}")
    except ValueError as error:
        raise ConnectError(f"cloudflared gave no quick tunnel's name: {error}") from None
    name = url.removeprefix("https://")
    if name.count(".") != 2:
        raise ConnectError("cloudflared gave no quick tunnel's name: the name has too many parts")
    return name


async def _pushed(metrics: Metrics) -> Ingress:
    """The ingress as Cloudflare pushed it, which it does right after a registration."""
    with anyio.move_on_after(PUSHED_WITHIN):
        while not (ingress := read_ingress(await metrics.configuration())).pushed:
            await anyio.sleep(_LOOK_EVERY)
        return ingress
    return Ingress(-1, ())
