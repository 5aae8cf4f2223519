"""What can be said of the configured program without running it."""

from __future__ import annotations

from collections.abc import Iterator

from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.models import Check
from prx_tunnel_core.process import find_program
from prx_tunnel_custom.command import secret_options
from prx_tunnel_custom.config import CustomConfig
from prx_tunnel_custom.multiplexing import look_at_ssh


async def diagnose(config: CustomConfig) -> list[Check]:
    return [*_checks(config), *(await look_at_ssh(config.command) if config.command else ())]


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
            f"every user of this machine can read what follows {option}; many programs take it "
            "from the environment instead, which [tunnel.custom.env] fills",
        )
