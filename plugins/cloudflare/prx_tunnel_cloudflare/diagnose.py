"""What `prx tunnel doctor` can find out without opening a tunnel."""

from __future__ import annotations

import os
from collections.abc import Iterable

from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.connector import INSTALL_HINT
from prx_tunnel_core.errors import TunnelError
from prx_tunnel_core.models import Check
from prx_tunnel_core.process import find_program
from prx_tunnel_core.programs import Version, program_version

MINIMUM = Version(2022, 12)
"""The first release with everything that this backend relies on."""
PATIENCE = 4.0  # seconds for the version; doctor gives ten to the whole diagnosis

_KINDS = {
    "quick": "a quick tunnel: no credentials, a new URL at every start",
    "remote": "the token has the right form",
    "local": "the credentials file belongs to the tunnel",
}


async def diagnose(config: CloudflareConfig) -> Iterable[Check]:
    return [await _program(config), _credentials(config), _foreign_file()]


async def _program(config: CloudflareConfig) -> Check:
    try:
        path = find_program(config.program, hint=INSTALL_HINT)
        version = await program_version(
            [path, "--version"],
            name="cloudflared",
            prefix="cloudflared version ",
            minimum=MINIMUM,
            fix=INSTALL_HINT,
            patience=PATIENCE,
        )
    except TunnelError as error:
        return Check("cloudflared", "fail", str(error))
    return Check("cloudflared", "ok", f"{path}, version {version}")


def _credentials(config: CloudflareConfig) -> Check:
    try:
        config.load_credentials()
    except TunnelError as error:
        return Check("credentials", "fail", str(error))
    return Check("credentials", "ok", _KINDS[config.kind])


def _foreign_file() -> Check:
    """The configuration file of cloudflared itself, which this backend does not let it read."""
    found = [
        path
        for folder in (os.path.expanduser("~/.cloudflared"), "/etc/cloudflared")
        for path in (os.path.join(folder, "config.yml"), os.path.join(folder, "config.yaml"))
        if os.path.isabs(path) and os.path.exists(path)
    ]
    detail = f"{' and '.join(found)} will not be used" if found else "none in the way"
    return Check("other configuration", "ok", detail)
