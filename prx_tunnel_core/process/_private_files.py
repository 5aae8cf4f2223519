"""Files that only this user can read, removed even when this process is killed.

The guard removes them then. When it is killed too, the next process that makes such a file does, or
the guard of the next host.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from prx_tunnel_core import trust
from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.process._reaper import guard
from prx_tunnel_core.process._reaper.folders import PREFIX, hold, remove, remove_abandoned

_locks: set[int] = set()


@contextmanager
def private_folder(*, parent: str | None = None) -> Iterator[str]:
    """Make a folder of mode 0700, yield its path, and remove it with all that is in it.

        with private_folder() as folder:
            path = write_private(folder, "bore.toml", settings)

    It is made in `parent`, else in the system's folder for temporary files. Raises SetupError when
    other users could replace it there.
    """
    parent = parent or tempfile.gettempdir()
    if problem := trust.problem(parent):
        raise SetupError(
            f"private files cannot be kept in {parent}: {problem}, "
            "or set TMPDIR to a folder that only you can change"
        )
    remove_abandoned(parent)
    owner = os.getpid()
    folder, lock = _make(parent)
    try:
        guard.remove_later(folder)
        yield folder
    finally:
        if os.getpid() == owner:  # not in a fork, which leaves its parent's context
            remove(folder)
            guard.was_removed(folder)
            _release(lock)


@contextmanager
def private_file(name: str, content: str | bytes) -> Iterator[str]:
    """Write a file of mode 0600, yield its path, and remove it at the end.

        with private_file("bore.toml", settings) as path:
            ...

    It is in a new private folder. Raises SetupError as `private_folder` does.
    """
    with private_folder() as folder:
        yield write_private(folder, name, content)


def write_private(folder: str, name: str, content: str | bytes) -> str:
    """Write a new file of mode 0600 into a private folder and return its path.

    Raises FileExistsError when the folder has a file of that name.
    """
    path = os.path.join(folder, name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


def _make(parent: str) -> tuple[str, int]:
    """A new folder, and the descriptor of its lock."""
    while True:
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
        try:
            lock = hold(folder)
        except (BlockingIOError, FileNotFoundError):
            continue  # another process has just removed it as an abandoned one
        _locks.add(lock)
        if os.path.isdir(folder):
            return folder, lock
        _release(lock)


def _release(lock: int) -> None:
    if lock in _locks:
        _locks.remove(lock)
        if lock >= 0:
            os.close(lock)


def _disown() -> None:
    """In a fork: its copy of a lock would keep the folder locked after the owner's end."""
    for lock in list(_locks):
        _release(lock)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)
