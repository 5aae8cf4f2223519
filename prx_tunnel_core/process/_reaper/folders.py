"""Private folders (see `_private_files`) of processes that are gone.

A process holds a lock on each folder that it uses; the kernel releases it when the process ends.

The guard imports this: standard library only.
"""

import os
import stat
import sys

from prx_tunnel_core import trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "prx-tunnel-private-"


def remove_abandoned(parent: str) -> None:
    """Remove the private folders in `parent` that no process uses any more.

    Does nothing where another user could replace one of them by a link.
    """
    try:
        names = [] if trust.problem(parent) else os.listdir(parent)
    except OSError:
        return
    for folder in [os.path.join(parent, name) for name in names if name.startswith(PREFIX)]:
        try:
            lock = hold(folder) if _is_own(os.lstat(folder)) else -1
        except OSError:  # in use, or gone by now
            continue
        if lock >= 0:
            remove(folder)
            os.close(lock)


def _is_own(status: os.stat_result) -> bool:
    private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
    return private and hasattr(os, "geteuid") and status.st_uid == os.geteuid()


def hold(folder: str) -> int:
    """Lock the folder for as long as this process lives; returns the descriptor.

    Raises BlockingIOError when another process holds the lock. -1 where there are no locks, so that
    no folder is ever taken for an abandoned one.
    """
    if sys.platform == "win32":
        return -1
    import fcntl

    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder, flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # a file system without locks
        os.close(descriptor)
        return -1
    return descriptor


def remove(folder: str) -> None:
    """Like `shutil.rmtree` without errors; `shutil` is too large for the guard."""
    for root, directories, files in os.walk(folder, topdown=False):
        for name in files:
            _try(os.unlink, os.path.join(root, name))
        for name in directories:
            path = os.path.join(root, name)
            _try(os.unlink if os.path.islink(path) else os.rmdir, path)
    _try(os.rmdir, folder)


def _try(call: "Callable[[str], None]", path: str) -> None:
    try:  # noqa: SIM105 - contextlib is not imported here
        call(path)
    except OSError:
        pass
