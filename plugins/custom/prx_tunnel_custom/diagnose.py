"""What `prx tunnel doctor` can find out without opening a tunnel."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import SetupError, TunnelError
from prx_tunnel_core.models import Check
from prx_tunnel_core.process import find_program
from prx_tunnel_core.programs import run_command
from prx_tunnel_custom.command import fill, secret_options
from prx_tunnel_custom.config import CustomConfig

PATIENCE = 5.0  # seconds; it only reads files
_ANY = Target("127.0.0.1", 3000)
_FIX = "write `ssh -o ControlPath=none …`, and the forward ends with the tunnel"


async def diagnose(config: CustomConfig) -> list[Check]:
    return [*_checks(config), *(await _ssh(config.command) if config.command else ())]


def _checks(config: CustomConfig) -> Iterator[Check]:
    if not config.command:
        return
    try:
        yield Check("program", "ok", find_program(config.command[0]))
    except SetupError as error:
        yield Check("program", "fail", str(error))
    for option in secret_options(config.command):
        yield Check(
            "command",
            "unknown",
            f"every user of this machine can read the value of {option}; many programs read it "
            "from a variable instead, which can be set in [tunnel.custom.env]",
        )


async def _ssh(command: Sequence[str]) -> list[Check]:
    """Whether ssh is configured to share connections with others, in a master process.

    A master leaves its session and overwrites its environment, so that its token is lost: the
    forward stays open after `stop`. A master that runs already takes the forward over.
    """
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
    try:
        output = await run_command(command, patience=PATIENCE)
    except TunnelError:
        return {}  # the check of the program reports that it cannot be run
    pairs = (line.partition(" ") for line in output.lines)
    return {name: value for name, _, value in pairs}
