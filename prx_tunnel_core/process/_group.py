"""A program's whole group: its name, signals to it, whether anyone in it still runs.

Every child starts a session of its own, so its process id names its group. A descendant that
starts yet another session is recognised by a token in its environment.
"""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import sys
from functools import lru_cache

from prx_tunnel_core.process._reaper.procfs import (
    VARIABLE,
    carriers,
    is_ours,
    origin,
    processes,
    state_and_group,
)

TOKEN_VARIABLE = VARIABLE.decode()

_RANDOM = secrets.token_hex(12)
_numbers = itertools.count(1)


def host_token() -> str:
    """What all children of this process have in common; those of a fork of it have another.

    A random part, so that it is nobody else's, then whose it is, for a guard of later times:
    `PID.START.PID_NAMESPACE.TIME_NAMESPACE.`, with zeros for what cannot be known here.
    """
    return _host_token(os.getpid())


def new_token() -> str:
    """A token for one child; it adds it to those that this host was itself started with."""
    return f"{host_token()}{next(_numbers)};"


def agent_token() -> str:
    """That of the agent of `prx start`.

    It has no number: of what bears it when its host is gone, nobody can tell whether the agent had
    been let go, so only the host's own guard ends it (see `leftovers.dead_host`).
    """
    return f"{host_token()}agent;"


@lru_cache(maxsize=1)
def _host_token(pid: int) -> str:
    return ".".join((_RANDOM, str(pid), *map(str, origin()), ""))


if sys.platform != "win32":
    # Its number alone tells a fork from its parent, but not from a dead grandparent.
    os.register_at_fork(after_in_child=_host_token.cache_clear)


def running() -> list[int]:
    """Every process that this host started through a tunnel and that still runs; Linux only."""
    return carriers(host_token().encode())


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
    if not is_ours():
        return True
    looked_at = map(state_and_group, processes())
    return any(group == pid and state not in b"ZX" for state, group in looked_at)
