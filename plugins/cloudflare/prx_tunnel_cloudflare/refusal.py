"""Find out why Cloudflare refuses a tunnel.

Over QUIC, cloudflared (since 2025.8.1) does not log the reason. Over HTTP/2 it does, so it is run
again over HTTP/2 until it has logged the reason.
"""

from __future__ import annotations

from functools import partial

import anyio

from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.connector import Connector, run_cloudflared
from prx_tunnel_cloudflare.credentials import Credentials
from prx_tunnel_cloudflare.reasons import Cause, Reason
from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import ConnectError, SetupError, TunnelError
from prx_tunnel_core.programs import time_left, while_running

HEARING = 10.0  # seconds; the registration call itself times out after 5

_SILENT = (
    "Cloudflare refuses to register the tunnel without a reason; most often its token was "
    "replaced or the tunnel deleted: check the tunnel's page, and copy the token again"
)
_QUICK = "Cloudflare does not register the quick tunnel that it has just made; try again later"
_HTTP2_WORKS = (
    "Cloudflare refuses to register the tunnel over QUIC, but not over HTTP/2; "
    'set tunnel.cloudflare.protocol = "http2"'
)


async def explain_refusal(
    config: CloudflareConfig, target: Target, credentials: Credentials, known: Reason | None
) -> TunnelError:
    """The error for a refused tunnel; `known` is the reason in the log so far."""
    if known is not None and known.cause in (Cause.UNAUTHORIZED, Cause.REFUSED):
        return _final(known)
    if (
        config.kind == "quick"
    ):  # its credentials were made for this attempt: the next one gets new ones
        return ConnectError(_QUICK)
    if config.protocol == "http2":
        return ConnectError(_SILENT)
    async with run_cloudflared(config, target, credentials, protocol="http2") as connector:
        with anyio.move_on_after(time_left(HEARING)):
            await while_running(connector.process, partial(_hear, connector))
        journal = connector.journal
    if journal.registered is not None:
        return ConnectError(_HTTP2_WORKS)
    if journal.reason is not None and journal.reason.cause is not Cause.LOST:
        return _final(journal.reason)
    return ConnectError(_SILENT)


def _final(reason: Reason) -> TunnelError:
    """The refusal has been repeated, so a refusal of the credentials is final."""
    if reason.cause is Cause.UNAUTHORIZED:
        return SetupError(reason.message)
    return reason.to_error()


async def _hear(connector: Connector) -> None:
    """Return once the log has a reason or a registration."""
    while connector.journal.registered is None and not connector.journal.refusals:
        await connector.news(HEARING)
