"""How a change of status reads, in a terminal, in a log, for a person."""

from __future__ import annotations

from urllib.parse import urlsplit

from prx_tunnel_core._control.render import local, of_attempts
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.models import (
    Connected,
    Connecting,
    Failed,
    Idle,
    Reconnecting,
    Stopped,
    TunnelStatus,
)
from prx_tunnel_core.text import printable_lines
from prx_tunnel_core.urls import ip, is_loopback

INFO, WARNING, ERROR = "INFO", "WARN", "ERROR"


def describe(status: TunnelStatus, config: TunnelConfig) -> tuple[str, str]:
    """The level and the text, which may have several lines, and nothing that moves a cursor."""
    level, text = _describe(status, config)
    return level, printable_lines(text)


def _describe(status: TunnelStatus, config: TunnelConfig) -> tuple[str, str]:
    most = config.reconnect.max_attempts
    match status:
        case Idle():
            return INFO, "Tunnel idle"
        case Connecting(attempt):
            again = f" (attempt {of_attempts(attempt, most)})" if attempt else ""
            return INFO, f"Connecting {config.backend} -> {local(config)}{again}"
        case Connected(info):
            return INFO, f"Tunnel connected: {info.public_url} -> {local(config)}"
        case Reconnecting(attempt, reason, retry_in):
            follows = f"attempt {of_attempts(attempt, most)} in {retry_in:.1f} s"
            return WARNING, f"Not connected, {follows}: {reason}"
        case Stopped():
            return INFO, "Tunnel stopped"
        case Failed(message):
            return ERROR, f"Tunnel error: {message}"


def exposure(url: str, config: TunnelConfig) -> str:
    """What a person should know about the URL; nothing when it leads nowhere but here."""
    if _leads_nowhere_else(urlsplit(url).hostname or ""):
        return ""
    return f"this is PUBLIC: anyone with the URL reaches {local(config)}"


def _leads_nowhere_else(host: str) -> bool:
    """Whether nobody but this machine can use the address.

    `is_loopback` alone is not enough: a connection to 0.0.0.0 reaches this machine, but a server
    that gives it as its address accepts connections from every network.
    """
    address = ip(host)
    return is_loopback(host) and (address is None or not address.is_unspecified)
