"""The lock that lets one process serve a tunnel name, and the socket that it listens on."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import weakref
from typing import Self

import anyio

from prx_tunnel_core._control import runtime_dir
from prx_tunnel_core.errors import SetupError

BACKLOG = 64
TRIES = 20  # of 10 ms: a client that probes the lock holds it for a moment


class AlreadyRunning(SetupError):
    """Another process runs a tunnel of that name; `pid` is 0 when its number is unknown."""

    def __init__(self, name: str, pid: int) -> None:
        process = f"process {pid}" if pid else "another process"
        super().__init__(
            f"tunnel {name!r} is already running in {process}; "
            f"stop it with `prx tunnel stop --name {name}`, or choose another --name"
        )
        self.name = name
        self.pid = pid


class NameLock:
    """Held as long as a process serves the name.

    Only the held lock means that a tunnel is running; the process id in the lock file is for
    display. The file is never removed, so that all processes lock the same one.
    """

    def __init__(self, name: str) -> None:
        """Raises AlreadyRunning, or SetupError when the runtime directory cannot be trusted."""
        runtime_dir.require_unix()
        self.name = runtime_dir.check_name(name)
        self._directory = -1
        self._lock = -1
        self._socket: socket.socket | None = None
        self._bound: os.stat_result | None = None
        _held.add(self)
        try:
            self._take()
        except BaseException:
            self.release()
            raise

    @classmethod
    async def acquire(cls, name: str) -> Self:
        """Lock the name, also while a client probes the lock; raises what the constructor does."""
        for _ in range(TRIES):
            try:
                return cls(name)
            except AlreadyRunning as error:
                if error.pid:
                    raise
            await anyio.sleep(0.01)
        return cls(name)

    def _take(self) -> None:
        import fcntl

        self._path = runtime_dir.runtime_path()
        self._directory = runtime_dir.open_directory(self._path, create=True)
        self._lock = self._open(f"{self.name}.lock")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _read_pid(self._lock)
            os.close(self._lock)
            self._lock = -1
            raise AlreadyRunning(self.name, pid) from None
        # The process id is for display only, so a full disk does not keep a tunnel from starting.
        with contextlib.suppress(OSError):
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)

    def _open(self, file: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(file, flags, 0o600, dir_fd=self._directory)
        except OSError as error:
            raise SetupError(
                f"cannot open {self._path}/{file}: {error.strerror}; remove it, "
                "or set PRX_TUNNEL_RUNTIME_DIR to another directory of yours"
            ) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SetupError(f"{self._path}/{file} is not a regular file; remove it")
        return descriptor

    def listen(self) -> socket.socket:
        """Bind the name's socket; replaces one that a killed process left behind."""
        self._close_socket()
        file = f"{self.name}.sock"
        self._remove_stale(file)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The umask sets the socket's mode when it is bound; a chmod would come too late.
        umask = os.umask(0o177)
        try:
            listener.bind(runtime_dir.address(self._path, self._directory, file))
            listener.listen(BACKLOG)
            listener.setblocking(False)
            self._bound = self._status(file)
        except OSError as error:
            listener.close()
            raise SetupError(f"cannot bind {self._path}/{file}: {error.strerror}") from None
        except BaseException:
            listener.close()
            raise
        finally:
            os.umask(umask)
        self._socket = listener
        return listener

    def _remove_stale(self, file: str) -> None:
        status = self._status(file)
        if status is None:
            return
        if not runtime_dir.is_own_socket(status):
            raise SetupError(f"{self._path}/{file} is not a socket of this user; remove it")
        if self._answers(file):  # a tunnel is running whose lock file was deleted
            raise AlreadyRunning(self.name, 0)
        os.unlink(file, dir_fd=self._directory)

    def _answers(self, file: str) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(runtime_dir.address(self._path, self._directory, file))
            except BlockingIOError:  # its backlog is full
                return True
            except OSError:
                return False
        return True

    def is_intact(self) -> bool:
        """Whether clients still find the lock and the socket; also marks both as recently used.

        They may be removed by the user, at the end of the last session, or because they were not
        used for six hours (which the XDG specification allows).
        """
        if self._socket is None or not self._directory_is_current():
            return False
        lock, bound = os.fstat(self._lock), self._bound
        for file, ours in ((f"{self.name}.lock", lock), (f"{self.name}.sock", bound)):
            there = self._status(file)
            if there is None or ours is None or not os.path.samestat(there, ours):
                return False
            os.utime(file, dir_fd=self._directory, follow_symlinks=False)
        return True

    def _directory_is_current(self) -> bool:
        if self._directory < 0:  # renewing has failed
            return False
        try:
            there = os.stat(runtime_dir.runtime_path(), follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._directory))

    def _lock_is_current(self) -> bool:
        there = self._status(f"{self.name}.lock")
        return there is not None and os.path.samestat(there, os.fstat(self._lock))

    def renew(self) -> socket.socket:
        """Lock the name again if necessary, and listen again; raises what the constructor does."""
        if not (self._directory_is_current() and self._lock_is_current()):
            self.release()
            self._take()
        return self.listen()

    def _status(self, file: str) -> os.stat_result | None:
        try:
            return os.stat(file, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _close_socket(self) -> None:
        if self._socket is None:
            return
        self._socket.close()
        self._socket = None
        file = f"{self.name}.sock"
        there = self._status(file)
        # After our files were removed, the socket at that path may be another process's.
        if there is not None and self._bound and os.path.samestat(there, self._bound):
            os.unlink(file, dir_fd=self._directory)

    def release(self) -> None:
        """Leave nothing but an empty lock file."""
        self._close_socket()
        if self._lock >= 0:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = -1
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def abandon(self) -> None:
        """Close the descriptors in a forked child; the parent keeps the lock and the socket."""
        if self._socket is not None:
            self._socket.close()
        for descriptor in (self._lock, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._socket, self._lock, self._directory = None, -1, -1


_held: weakref.WeakSet[NameLock] = weakref.WeakSet()


def _abandon_all() -> None:
    for lock in list(_held):
        lock.abandon()


if sys.platform != "win32":
    # A worker that outlives its parent would keep the name of a tunnel that no longer runs.
    os.register_at_fork(after_in_child=_abandon_all)


def _read_pid(lock: int) -> int:
    text = os.pread(lock, 32, 0).strip()
    return int(text) if text.isdigit() else 0
