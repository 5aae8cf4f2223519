"""The token that this process was started with, when it was started below a host."""

from __future__ import annotations

import os
import sys

from prx_tunnel_core.process._group import TOKEN_VARIABLE
from prx_tunnel_core.process._reaper.orphans import dead_host


def shed_token() -> None:
    """Bear no token of a host any more, so that its end is not ours.

    The token of a host that is gone stays: it keeps our guard from ending what started us, perhaps
    the terminal that a person sits at (see `leftovers.leftovers`).
    """
    if TOKEN_VARIABLE not in os.environ or dead_host(os.getpid()):
        return
    if sys.platform == "linux":
        _blank_original()
    del os.environ[TOKEN_VARIABLE]


def _blank_original() -> None:
    """Overwrite the value where this process was given it, for /proc shows that very memory.

    Not by another exec: only the program that was started knows the command line to repeat, and it
    may be any that has `prx` as a library.
    """
    import ctypes

    getenv = ctypes.CDLL(None).getenv
    getenv.argtypes, getenv.restype = [ctypes.c_char_p], ctypes.c_void_p
    if address := getenv(TOKEN_VARIABLE.encode()):
        ctypes.memset(address, 0, len(ctypes.string_at(address)))
