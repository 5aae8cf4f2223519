"""Signals to a program's whole group, and to what left the group.

Every child starts a session of its own, so its process id names its group. A descendant that
starts yet another session is recognised by a token in its environment.
"""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import sys
from collections.abc import Iterator

import anyio.lowlevel

TOKEN_VARIABLE = "PRX_TUNNEL_CHILD"
HOST_TOKEN = secrets.token_hex(12)

_numbers = itertools.count(1)
_SLICE = 64  # processes looked at before others get their turn


def new_token() -> str:
    """A token for one child; a fork of this host keeps the host's part, and its own children."""
    return f"{HOST_TOKEN}.{os.getpid()}.{next(_numbers)};"


def signal_group(pid: int, *signals: signal.Signals) -> bool:
    """Send the signals to the group, none to only ask; False when nobody is left in it.

    The caller guarantees that the group is ours: its leader is not reaped yet, or was found alive
    as a group ever since (a number stays taken while a group bears it).
    """
    try:
        for each in signals or (0,):
            os.killpg(pid, each)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # macOS: only zombies, or a member that changed its user
    return True


def group_alive(pid: int) -> bool:
    """Whether anyone in the group still runs. A zombie does not: its new parent may never reap."""
    if not signal_group(pid):
        return False
    if sys.platform != "linux":
        return True
    return any(_runs_in_group(each, pid) for each in _processes())


def _runs_in_group(pid: int, group: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            # The name before the last parenthesis may itself hold parentheses and spaces.
            state, _, its_group, *_ = (file.read(4096) or b"").rpartition(b")")[2].split()
    except (OSError, ValueError):
        return False
    return int(its_group) == group and state not in (b"Z", b"X")


async def end_escaped(token: str) -> int:
    """Kill every process that carries the token, also those that left the group; Linux only.

    Repeated until none is found, for one may fork while it is looked for. Returns how many.
    """
    if sys.platform != "linux":
        return 0
    ended = 0
    for _ in range(16):
        found = 0
        for seen, pid in enumerate(_processes()):
            if seen % _SLICE == _SLICE - 1:
                await anyio.lowlevel.checkpoint()
            found += _kill_if_ours(pid, token.encode())
        ended += found
        if not found:
            break
        await anyio.sleep(0.005)
    return ended


def _processes() -> Iterator[int]:
    with os.scandir("/proc") as entries:
        yield from [int(entry.name) for entry in entries if entry.name.isdigit()]


def _kill_if_ours(pid: int, token: bytes) -> bool:
    if token not in _environment(pid):
        return False
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Asked again now that the handle holds this very process: by the time of a signal, its
        # number alone could be another's.
        if token not in _environment(pid):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _environment(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return file.read(1 << 20) or b""
    except OSError:
        return b""
