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
import time
from collections.abc import Iterator
from functools import lru_cache

import anyio.lowlevel

from prx_tunnel_core.process.guard_main import origin

TOKEN_VARIABLE = "PRX_TUNNEL_CHILD"

_RANDOM = secrets.token_hex(12)
_numbers = itertools.count(1)
_SLICE = 16  # processes looked at before others get their turn
_ROUNDS = 16
_PAUSE = 0.005  # seconds between rounds


def host_token() -> str:
    """What all children of this process have in common; those of a fork of it have another.

    A random part, so that it is nobody else's, then whose it is, for a guard of later times:
    `PID.START.PID_NAMESPACE.TIME_NAMESPACE.`, with zeros for what cannot be known here.
    """
    return _host_token(os.getpid())


def new_token() -> str:
    """A token for one child; it adds it to those that this host was itself started with."""
    return f"{host_token()}{next(_numbers)};"


@lru_cache(maxsize=1)
def _host_token(pid: int) -> str:
    return ".".join((_RANDOM, str(pid), *map(str, origin()), ""))


if sys.platform != "win32":
    # Its number alone tells a fork from its parent, but not from a dead grandparent.
    os.register_at_fork(after_in_child=_host_token.cache_clear)


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


async def end_escaped(token: str) -> None:
    """Kill every process that carries the token, also those that left the group; Linux only.

    Repeated until none is found, for one may fork while it is looked for.
    """
    for _ in range(_ROUNDS):
        # Before the first look, too: whoever waits for the end shall hear of it before that.
        await anyio.lowlevel.checkpoint()
        found = 0
        for seen, killed in enumerate(_kill_carriers(token)):
            found += killed
            if seen % _SLICE == _SLICE - 1:
                await anyio.lowlevel.checkpoint()
        if not found:
            return
        await anyio.sleep(_PAUSE)


def end_escaped_at_once(token: str) -> None:
    """The same, where nothing can be awaited any more."""
    for _ in range(_ROUNDS):
        if not any(list(_kill_carriers(token))):
            return
        time.sleep(_PAUSE)


def _kill_carriers(token: str) -> Iterator[bool]:
    for pid in _processes():
        yield _kill_if_ours(pid, token.encode())


def running() -> list[int]:
    """Every process that this host started through a tunnel and that still runs; Linux only."""
    token = host_token().encode()
    return [pid for pid in _processes() if token in _environment(pid)]


def _processes() -> list[int]:
    if sys.platform != "linux":
        return []
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def _kill_if_ours(pid: int, token: bytes) -> bool:
    if sys.platform != "linux" or token not in _environment(pid):
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
