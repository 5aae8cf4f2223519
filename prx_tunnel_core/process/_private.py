"""Files that only this user can read, and that go away also when this process is killed.

The guard removes them then; and should it be killed as well, the next process that uses any, or the
guard of the next host.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from prx_tunnel_core import trust
from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.process._abandoned import PREFIX, hold, remove, remove_abandoned
from prx_tunnel_core.process._reaper import guard

_locks: set[int] = set()


@contextmanager
def private_folder(*, parent: str | None = None) -> Iterator[str]:
    """The path of a new folder of mode 0700, which is removed at the end with all that is in it.

    It stands in `parent`, else in the system's folder for temporary files. Raises SetupError when
    other users could replace it there.
    """
    parent = parent or tempfile.gettempdir()
    if problem := trust.problem(parent):
        raise SetupError(
            f"private files cannot be kept in {parent}: {problem}, "
            "or set TMPDIR to a folder of yours"
        )
    remove_abandoned(parent)
    owner = os.getpid()
    folder, lock = _make(parent)
    try:
        guard.remove_later(folder)
        yield folder
    finally:
        if os.getpid() == owner:  # and not a fork that leaves its parent's context
            remove(folder)
            guard.was_removed(folder)
            _release(lock)


@contextmanager
def private_file(name: str, content: str | bytes) -> Iterator[str]:
    """The path of a file of mode 0600 with that content, in a private folder of its own."""
    with private_folder() as folder:
        yield write_private(folder, name, content)


def write_private(folder: str, name: str, content: str | bytes) -> str:
    """Write a new file of mode 0600 into a private folder; gives its path."""
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
            continue  # another process has just taken it for an abandoned one
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
    """In a fork: as long as it had a copy of a lock, that would outlive its owner."""
    for lock in list(_locks):
        _release(lock)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)
