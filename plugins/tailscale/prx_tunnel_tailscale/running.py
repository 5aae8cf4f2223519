"""How a foreground session of `tailscale` is recognised and ended."""

from __future__ import annotations

from signal import Signals

# The program handles only SIGINT (cli/serve_v2.go); every other signal ends it as well, and
# tailscaled forgets its route at once, whatever ended it.
STOP_SIGNALS = (Signals.SIGINT, Signals.SIGTERM)
STOP_GRACE = 3.0  # seconds


def announces(line: str) -> bool:
    """Whether the program says that it is done: a moment to look, no proof of anything."""
    return line.startswith(("Available on the internet", "Available within your tailnet"))
