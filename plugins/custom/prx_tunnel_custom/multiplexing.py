"""`ssh` may share a connection with others, in a master that outlives the tunnel.

That master leaves its session and overwrites its environment, so nobody can tell that it was once
ours: the forward stays open after `stop`. A master that is there already takes the forward over.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import anyio

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import TunnelError
from prx_tunnel_core.models import Check
from prx_tunnel_core.process import open_process
from prx_tunnel_custom.command import fill

PATIENCE = 5.0  # seconds; it reads files and connects to nobody
_ANY = Target("127.0.0.1", 3000)
_FIX = "write `ssh -o ControlPath=none …`, and the forward ends with the tunnel"


async def look_at_ssh(command: Sequence[str]) -> list[Check]:
    """What the configuration of ssh says for this command; nothing for any other program."""
    if os.path.basename(command[0]) != "ssh":
        return []
    settings = await _settings([command[0], "-G", *fill(command[1:], _ANY)])
    path = settings.get("controlpath", "none")
    if path == "none":
        return []
    detail = f"ssh is configured to share connections (ControlPath {path})"
    return [Check("command", "fail", f"{detail}; {_FIX}")]


async def _settings(command: Sequence[str]) -> dict[str, str]:
    """What `ssh -G` prints, see ssh(1): a name in lower case and its value on each line."""
    found: dict[str, str] = {}

    def note(line: str) -> None:
        name, _, value = line.partition(" ")
        found[name] = value

    try:
        with anyio.move_on_after(PATIENCE):
            async with open_process(command, on_line=note, grace=0.5) as process:
                await process.wait()
    except TunnelError:
        return {}  # that it cannot be run is told apart
    return found
