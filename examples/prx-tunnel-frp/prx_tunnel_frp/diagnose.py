"""What `prx tunnel doctor` can find out without opening a tunnel."""

from prx_tunnel_core import Check, TunnelError, find_program
from prx_tunnel_core.programs import Version, program_version
from prx_tunnel_frp.config import INSTALL_HINT, FrpConfig

MINIMUM = Version(0, 52)
"""The first release that reads TOML."""


async def diagnose(config: FrpConfig) -> list[Check]:
    try:
        path = find_program(config.program, hint=INSTALL_HINT)
        version = await program_version(
            [path, "--version"],
            name="frpc",
            prefix="",
            minimum=MINIMUM,
            fix=INSTALL_HINT,
            patience=5.0,
        )
    except TunnelError as error:
        return [Check("program", "fail", str(error))]
    return [Check("program", "ok", f"{path} {version}")]
