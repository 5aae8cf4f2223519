"""A network namespace of one's own, with nothing in it but the loopback.

The peers would download programs, and connect to their providers, if they could. So all that is
measured runs where neither is possible, and where no other traffic disturbs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

INSIDE = "PRX_TUNNEL_BENCHMARKS_INSIDE"
_SEALED, _OPEN = "sealed", "open"

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def is_inside() -> bool:
    """Whether this is the process that measures, sealed or not."""
    return INSIDE in os.environ


def is_sealed() -> bool:
    return os.environ.get(INSIDE) == _SEALED


def enter(command: Sequence[str]) -> NoReturn:
    """Become the command, within such a namespace unless this machine does not allow one."""
    unshare = _unshare() if sys.platform == "linux" else None
    os.environ[INSIDE] = _OPEN if unshare is None else _SEALED
    words = [*(unshare or []), *command]
    os.execv(words[0], words)


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        answer = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request)
        flags = struct.unpack("16sH14x", answer)[1] | _IFF_UP
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))


def _unshare() -> list[str] | None:
    found = shutil.which("unshare")
    if found is None:
        return None
    command = [found, "--net"]
    if os.geteuid() != 0:
        # One's own number stays, and with it what a program does that looks for root.
        command += ["--map-current-user", "--keep-caps"]
    works = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if works else None
