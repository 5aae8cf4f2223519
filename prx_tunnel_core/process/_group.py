"""Signals to a program's whole process group, and whether any process of it still runs.

Every child starts a session, so its process id is also the id of its group. A descendant that
starts yet another session is found by the token in its environment: see `_reaper`.
"""

from __future__ import annotations

import os
import signal

from prx_tunnel_core.process._reaper.procfs import is_ours, processes, state_and_group


def signal_group(pid: int, *signals: signal.Signals) -> bool:
    """Send the signals to the group, or none to only ask; False when the group has no process.

    The caller guarantees that the group is ours: its leader is not reaped yet, or the group has
    been alive ever since (a number stays taken as long as a group has it).
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
    """Whether any process of the group runs; a zombie does not, as its parent may never reap it."""
    if not signal_group(pid):
        return False
    if not is_ours():
        return True
    looked_at = map(state_and_group, processes())
    return any(group == pid and state not in b"ZX" for state, group in looked_at)
