"""What `prx tunnel doctor` asks: everything that can be known without opening a tunnel."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

import anyio

from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.connector import INSTALL_HINT
from prx_tunnel_core.errors import ConnectError, ProgramExited, TunnelError
from prx_tunnel_core.models import Check
from prx_tunnel_core.process import find_program, open_process

OLDEST = (2022, 12, 0)
"""The first release with everything that this backend relies on."""
PATIENCE = 4.0  # seconds for the version; doctor gives ten to the whole diagnosis

_VERSION = re.compile(r"cloudflared version (\d{4})\.(\d{1,2})\.(\d{1,3})\b.*")
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
        version = await _version(path)
    except TunnelError as error:
        return Check("cloudflared", "fail", str(error))
    if version is None:
        return Check("cloudflared", "fail", f"{path} is not Cloudflare's program; {INSTALL_HINT}")
    shown = ".".join(map(str, version))
    if version < OLDEST:
        needed = ".".join(map(str, OLDEST))
        return Check("cloudflared", "fail", f"{path} is {shown}; update it to {needed} or newer")
    return Check("cloudflared", "ok", f"{path}, version {shown}")


async def _version(path: str) -> tuple[int, ...] | None:
    """What the program says its version is; None when it says none as cloudflared does."""
    try:
        with anyio.fail_after(PATIENCE):
            async with open_process([path, "--version"], grace=1.0) as process:
                match = await process.first_match(_VERSION.fullmatch)
    except ProgramExited:
        return None
    except TimeoutError:
        raise ConnectError(
            f"{path} does not answer `--version` within {PATIENCE:g} s: is it really cloudflared?"
        ) from None
    return tuple(int(part) for part in match.groups())


def _credentials(config: CloudflareConfig) -> Check:
    try:
        config.load_credentials()
    except TunnelError as error:
        return Check("credentials", "fail", str(error))
    return Check("credentials", "ok", _KINDS[config.kind])


def _foreign_file() -> Check:
    """A file that has taken over many a tunnel of other tools; ours never reads it."""
    found = [
        path
        for folder in (os.path.expanduser("~/.cloudflared"), "/etc/cloudflared")
        for path in (os.path.join(folder, "config.yml"), os.path.join(folder, "config.yaml"))
        if os.path.isabs(path) and os.path.exists(path)
    ]
    detail = f"{' and '.join(found)} will not be used" if found else "none in the way"
    return Check("other configuration", "ok", detail)
