"""The local port: whether somebody is there for the visitors, and whether it is the user's app."""

from __future__ import annotations

import anyio

from prx_tunnel_core._health.listeners import strangers
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.models import Check

PATIENCE = 1.0  # seconds; on loopback an answer takes microseconds


async def look_at_local_port(tunnel: TunnelConfig) -> Check:
    where = f"{tunnel.local_host} port {tunnel.local_port}"
    try:
        with anyio.fail_after(PATIENCE):
            stream = await anyio.connect_tcp(tunnel.local_host, tunnel.local_port)
        await stream.aclose()
    except (OSError, TimeoutError):
        fix = "start your program, or set tunnel.local_port to the port that it listens on"
        return Check("local port", "fail", f"nothing listens on {where}; {fix}")
    foreign = strangers(tunnel.local_host, tunnel.local_port)
    if foreign:
        owner = f"another user (uid {foreign[0]})"
        return Check("local port", "unknown", f"{where} belongs to {owner}: is it your app?")
    return Check("local port", "ok", f"something listens on {where}")
