"""Is the tunnel well? The checks, and the verdict that comes from them.

    process     the program is alive                  the supervisor knows
    provider    what the backend's `check()` says     `ask_provider`, in verdict.py
    local       something accepts on the local port   `Prober.local`, in probe.py
    public      the public URL answers                `Prober.public`, in probe.py

network.py tells a failure of the tunnel from one of this machine.
"""

from prx_tunnel_core._health.network import online
from prx_tunnel_core._health.probe import Prober
from prx_tunnel_core._health.verdict import ProviderReport, ask_provider, judge, require_check

__all__ = ["Prober", "ProviderReport", "ask_provider", "judge", "online", "require_check"]
