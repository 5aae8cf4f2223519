"""Open the tunnel: prepare the node, open the route."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from prx_tunnel_core import Connection, Target
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import VisitorHeaders
from prx_tunnel_tailscale.background import in_background
from prx_tunnel_tailscale.config import TailscaleConfig
from prx_tunnel_tailscale.connection import check_key
from prx_tunnel_tailscale.foreground import in_foreground
from prx_tunnel_tailscale.node import Node
from prx_tunnel_tailscale.preflight import prepare
from prx_tunnel_tailscale.program import Tailscale

logger = get_logger(__name__)

# tailscaled removes what the visitor sent under these names, and sets them itself
# (ipn/ipnlocal/serve.go: addProxyForwardedHeaders, addTailscaleIdentityHeaders).
VISITOR_HEADERS = VisitorHeaders(
    always=("x-forwarded-host", "x-forwarded-for", "tailscale-funnel-request"),
    address="x-forwarded-for",
)


@asynccontextmanager
async def connect(config: TailscaleConfig, target: Target) -> AsyncIterator[Connection]:
    """Yield the connection once tailscaled lists the route as configured."""
    tailscale = Tailscale.of(config)
    node, route = await prepare(tailscale, config, target)
    for soon in check_key(node, datetime.now(UTC)):
        logger.warning(soon.detail)
    opened = in_background if config.background else in_foreground
    async with opened(tailscale, route, _details(config, node)) as connection:
        connection.visitor_headers = VISITOR_HEADERS
        yield connection


def _details(config: TailscaleConfig, node: Node) -> dict[str, str]:
    reach = "public (Funnel)" if config.mode == "funnel" else "this tailnet only (Serve)"
    details = {
        "reachable": reach,
        "kept by": "tailscaled" if config.background else "a foreground session",
        "node": node.dns_name,
        "tailscaled": str(node.version or "unknown"),
    }
    if node.relay:
        details["relay"] = node.relay
    if node.key_expiry is not None:
        details["key expires"] = f"{node.key_expiry:%Y-%m-%d}"
    return details
