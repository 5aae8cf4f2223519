"""Wait until Cloudflare's edge has registered a connection, so that traffic can flow.

The banner with the URL is printed earlier, and proves nothing. Neither does the metric
`ha_connections`, which counts attempts.
"""

from __future__ import annotations

from functools import partial

import anyio

from prx_tunnel_cloudflare.connector import Connector
from prx_tunnel_cloudflare.metrics import Metrics, NoAnswer
from prx_tunnel_cloudflare.reasons import Reason
from prx_tunnel_core.programs import while_running

LOOK_EVERY = 0.25  # seconds, when the log brings no news
REFUSALS = 3
REFUSED_FOR = 5.0
"""Refusals, and seconds since the first, that count as final: Cloudflare also refuses for a moment
while a new tunnel spreads through its network, and cloudflared would retry for ever."""


class Refused(Exception):
    """Cloudflare keeps refusing to register the tunnel."""

    def __init__(self, reason: Reason | None) -> None:
        super().__init__()
        self.reason = reason
        """The reason in the log, if any."""


async def until_registered(connector: Connector) -> Metrics:
    """Return the metrics server of a connector that has an edge connection.

    Raises Refused; SetupError or ConnectError when cloudflared ends before.
    """
    metrics = await while_running(connector.process, partial(_registered, connector))
    if metrics is None:
        raise connector.ended()
    return metrics


async def _registered(connector: Connector) -> Metrics:
    metrics = await _metrics(connector)
    refused_since: float | None = None
    while not await _connected(metrics):
        refusals = await _refusals(connector, metrics)
        if refused_since is None and refusals:
            refused_since = anyio.current_time()
        elif _believed(refusals, refused_since):
            raise Refused(connector.journal.reason)
        await connector.news(LOOK_EVERY)
    return metrics


def _believed(refusals: int, since: float | None) -> bool:
    return (
        since is not None and refusals >= REFUSALS and anyio.current_time() - since >= REFUSED_FOR
    )


async def _metrics(connector: Connector) -> Metrics:
    """The metrics server of this very process, whose port its log shows."""
    while connector.journal.metrics_port is None:
        await connector.news(LOOK_EVERY)
    return Metrics(connector.journal.metrics_port, connector.journal.connector_id)


async def _connected(metrics: Metrics) -> bool:
    try:
        return await metrics.edge_connections() > 0
    except NoAnswer:
        return False


async def _refusals(connector: Connector, metrics: Metrics) -> int:
    """How many refusals; asks the metrics server only when the log shows one."""
    if not connector.journal.refusals:
        return 0
    try:
        return (await metrics.registrations()).refused
    except NoAnswer:
        return connector.journal.refusals
