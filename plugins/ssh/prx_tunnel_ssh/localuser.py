"""The user whom this process runs as: in a container, often a number without a name or a home."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from prx_tunnel_core.errors import SetupError

_NAMELESS = "nameless"
_HOMELESS = "/nonexistent"  # as Debian has it for users without a home directory


def name() -> str:
    """The user's name; raises SetupError when there is none to log in with."""
    found = _name()
    if found in ("", _NAMELESS):
        raise SetupError(
            f"username is not set, and user {os.geteuid()} of this machine has no name: set "
            "username in [tunnel.ssh]"
        )
    return found


def complete() -> None:
    """Give this process the variables without which asyncssh does not start.

    It asks for a name and a home directory, also where it uses neither.
    """
    if not _name():
        os.environ["LOGNAME"] = _NAMELESS
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = _HOMELESS


def _name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError since Python 3.13
        return ""
