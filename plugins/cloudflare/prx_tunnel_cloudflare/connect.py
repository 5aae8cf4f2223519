"""Open a tunnel: run cloudflared, wait for an edge connection, learn the public name."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.connection import CloudflareConnection
from prx_tunnel_cloudflare.connector import Connector, run_cloudflared
from prx_tunnel_cloudflare.ingress import read_ingress
from prx_tunnel_cloudflare.metrics import Metrics, NoAnswer
from prx_tunnel_cloudflare.naming import public_hostname
from prx_tunnel_cloudflare.readiness import Refused, until_registered
from prx_tunnel_cloudflare.refusal import explain_refusal
from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.errors import ConnectError, TunnelError
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.programs import time_left

logger = get_logger("prx_tunnel_cloudflare")


@asynccontextmanager
async def connect(config: CloudflareConfig, target: Target) -> AsyncIterator[Connection]:
    credentials = config.load_credentials()
    _check_metrics_port(config)
    try:
        async with run_cloudflared(config, target, credentials) as connector:
            yield await _open(config, target, connector)
    except Refused as refused:  # by then, the refused cloudflared has ended
        raise await explain_refusal(config, target, credentials, refused.reason) from None


async def _open(
    config: CloudflareConfig, target: Target, connector: Connector
) -> CloudflareConnection:
    patience = time_left()
    with anyio.move_on_after(patience):
        metrics = await until_registered(connector)
        hostname = await public_hostname(config, target, metrics)
        return CloudflareConnection(
            f"https://{hostname}",
            details=await _details(config, target, hostname, connector, metrics),
            connector=connector,
            metrics=metrics,
            target=target,
            hostname=None if config.kind == "quick" else hostname,
        )
    raise _too_late(connector, patience)


async def _details(
    config: CloudflareConfig,
    target: Target,
    hostname: str,
    connector: Connector,
    metrics: Metrics,
) -> dict[str, str]:
    known = connector.journal.registered or {}
    details = {
        "protocol": known.get("protocol", ""),
        "edge location": known.get("location", ""),
        "cloudflared": connector.journal.version or "",
        "metrics": f"http://127.0.0.1:{metrics.port}",
    }
    details = {key: text for key, text in details.items() if text}
    if config.kind == "quick":
        details["note"] = "a quick tunnel: the URL changes at every start"
    elif (warning := await _route_problem(hostname, target, metrics)) is not None:
        logger.warning("%s", warning)
        details["warning"] = warning
    return details


async def _route_problem(hostname: str, target: Target, metrics: Metrics) -> str | None:
    try:
        return read_ingress(await metrics.configuration()).problem(hostname, target)
    except NoAnswer:
        return None


def _too_late(connector: Connector, patience: float) -> TunnelError:
    reason = connector.journal.reason
    if reason is not None:
        return reason.to_error()
    lines = connector.process.last_lines()
    limit = f"{round(patience, 1):g} s"
    said = f"said: {lines}" if lines else "was silent"
    return ConnectError(f"no connection to Cloudflare within {limit}; cloudflared {said}")


def _check_metrics_port(config: CloudflareConfig) -> None:
    """Reject a busy port now: cloudflared would notice it only after making a quick tunnel."""
    if config.metrics_port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", config.metrics_port))
        except OSError as error:
            raise ConnectError(
                f"tunnel.cloudflare.metrics_port: port {config.metrics_port} cannot be used "
                f"({error.strerror}); choose another, or leave it out"
            ) from None
