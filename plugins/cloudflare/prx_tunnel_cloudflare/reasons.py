"""Why cloudflared is not connected, and what that means for another attempt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from prx_tunnel_core.errors import ConnectError, SetupError, TunnelError


class Cause(StrEnum):
    USAGE = "usage"
    TOKEN = "token"
    RATE_LIMIT = "rate limit"
    API_ANSWER = "api answer"
    API_DNS = "api dns"
    API_UNREACHABLE = "api unreachable"
    METRICS_PORT = "metrics port"
    DNS = "dns"
    TLS = "tls"
    BLOCKED = "blocked"
    UDP_BLOCKED = "udp blocked"
    TCP_BLOCKED = "tcp blocked"
    EDGE_UNREACHABLE = "edge unreachable"
    UNAUTHORIZED = "unauthorized"
    REFUSED = "refused"
    REFUSED_SILENTLY = "refused silently"
    LOST = "lost"


REFUSALS = frozenset({Cause.UNAUTHORIZED, Cause.REFUSED, Cause.REFUSED_SILENTLY})


@dataclass(frozen=True, slots=True)
class Reason:
    cause: Cause
    message: str
    """For a person: what is wrong, and the fix."""
    weight: int = 1
    """A later reason replaces an earlier one of no more weight."""
    permanent: bool = False
    """Trying again cannot help."""
    retry_after: float = 0.0
    """Seconds before another attempt."""

    def to_error(self) -> TunnelError:
        if self.permanent:
            return SetupError(self.message)
        return ConnectError(self.message, retry_after=self.retry_after)
