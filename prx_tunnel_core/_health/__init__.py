"""Is the tunnel well? The checks, what each of them asks, and the verdict.

    checks.py       the list of checks, and the verdict; what the backend itself reports
    probe.py        one request to the public URL
    local_port.py   does something accept on the local port, and whose process is it
    network.py      is a failure the tunnel's, or this machine's

To add a check, add a row to `checks.CHECKS`.
"""

from prx_tunnel_core._health.checks import (
    Examined,
    Probes,
    ProviderReport,
    ask_provider,
    confirmed,
    examine,
    judge,
    not_connected,
    reasons,
    require_check,
)
from prx_tunnel_core._health.network import online
from prx_tunnel_core._health.probe import Prober

__all__ = [
    "Examined",
    "Prober",
    "Probes",
    "ProviderReport",
    "ask_provider",
    "confirmed",
    "examine",
    "judge",
    "not_connected",
    "online",
    "reasons",
    "require_check",
]
