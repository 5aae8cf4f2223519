"""One request to the socket of a running tunnel; imports next to nothing, like `place`.

A reply is what `prx tunnel status`, `health` and `stop` print, and what they exit with.
"""

from __future__ import annotations

import _socket  # what `socket` is made of, for a tenth of the time that importing that takes
import os
import time

from prx_tunnel_core._control import peer_credentials, runtime_dir

OPS = ("status", "health", "stop")

SILENCE = 2.0  # seconds without a word after which the other process is taken for frozen
ENDING = 2.0  # seconds that a process which says that it is ending has to do so
CHANGING = 0.5  # seconds in which a process that starts or ends may hold the lock and no socket
LARGEST_REPLY = 4 * 1024 * 1024  # bytes

NOT_RUNNING = 3
# A tunnel that runs but does not answer: a failure of `stop`; for the others "not connected".
_SILENT = {"status": 4, "health": 4, "stop": 1}


class Reply:
    """`answered` tells the tunnel's own words from ours about why there are none."""

    def __init__(self, code: int, text: str, *, answered: bool = True) -> None:
        self.code = code
        self.text = text
        self.answered = answered


def call(op: str, name: str, form: str = "text") -> Reply:
    """Ask the tunnel of that name; every way to get no answer is a reply too.

    Raises SetupError when the runtime directory cannot be trusted.
    """
    path = runtime_dir.runtime_path()
    try:
        directory = runtime_dir.open_directory(path, create=False)
    except FileNotFoundError:
        return _not_running(name)
    try:
        address = runtime_dir.address(path, directory, f"{name}.sock")
        return _try(address, directory, op, name, form)
    finally:
        os.close(directory)


def _try(address: str, directory: int, op: str, name: str, form: str) -> Reply:
    """Ask, again and again while the socket of a process that holds the lock leads nowhere."""
    deadline = time.monotonic() + CHANGING
    while True:
        try:
            return _connect(address, op, name, form)
        except (TimeoutError, BlockingIOError):  # the latter: its backlog is full
            _, pid = _holder(directory, name)
            return _silent(op, name, pid, "does not answer; is it suspended?")
        except OSError:
            held, pid = _holder(directory, name)
            if not held:
                return _not_running(name, _running(directory))
            if time.monotonic() >= deadline:
                return _silent(op, name, pid, "cannot be reached; try again in a minute")
        time.sleep(0.01)


def _connect(address: str, op: str, name: str, form: str) -> Reply:
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(SILENCE)
        connection.connect(address)
        return _converse(connection, op, name, form)
    finally:
        connection.close()


def _converse(connection: _socket.socket, op: str, name: str, form: str) -> Reply:
    pid, user = peer_credentials.credentials(connection)
    if not peer_credentials.trusted(user):
        return _silent(op, name, pid, f"is run by user {user}")
    connection.sendall(f'{{"v": 1, "op": "{op}", "as": "{form}"}}\n'.encode())
    header, _, body = _receive(connection).partition(b"\n")
    words = header.split()
    if not words:
        # Not "is not running": it was asked to do something, and nobody knows how far it came.
        return _silent(op, name, pid, "ended, or hung up, before it answered")
    if words[0] != b"prx-tunnel/1" or not _is_code(words[1:2]):
        return _silent(op, name, pid, "is run by another version of prx; stop it with kill")
    if words[2:] == [b"ending"]:
        _wait_for_end(pid)
    return Reply(int(words[1]), body.decode("utf-8", "replace"))


def _is_code(words: list[bytes]) -> bool:
    """Whether that is one exit code; a longer number may be more than Python reads."""
    return bool(words) and words[0].isdigit() and len(words[0]) <= 3


def _receive(connection: _socket.socket) -> bytes:
    waiting = b"prx-tunnel/1 wait\n"
    received = b""
    while len(received) <= LARGEST_REPLY and (chunk := connection.recv(65536)):
        received += chunk
        while received.startswith(waiting):
            received = received[len(waiting) :]
    return received


def _holder(directory: int, name: str) -> tuple[bool, int]:
    """Whether a process holds the name's lock, and which one it says it is."""
    import fcntl

    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        lock = os.open(f"{name}.lock", flags, dir_fd=directory)
    except OSError:
        return False, 0
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        pid = os.read(lock, 32).strip()
        return True, int(pid) if pid.isdigit() else 0
    finally:
        os.close(lock)
    return False, 0


def leftovers() -> tuple[list[str], list[str]]:
    """The names whose process was killed, and the paths that stand where a socket should.

    Raises SetupError when the runtime directory cannot be trusted.
    """
    path = runtime_dir.runtime_path()
    try:
        directory = runtime_dir.open_directory(path, create=False)
    except FileNotFoundError:
        return [], []
    try:
        names = _names(directory)
        # Whoever makes a socket holds the lock before, and gives it back after removing it.
        free = [name for name in names if not _holder(directory, name)[0]]
        ours = {name: _has_own_socket(directory, name) for name in names}
    finally:
        os.close(directory)
    in_the_way = [os.path.join(path, f"{name}.sock") for name in names if ours[name] is False]
    return [name for name in free if ours[name]], in_the_way


def running() -> list[str]:
    """The names of this user's tunnels, of whichever process; raises SetupError as `call` does."""
    try:
        directory = runtime_dir.open_directory(runtime_dir.runtime_path(), create=False)
    except FileNotFoundError:
        return []
    try:
        return _names(directory)
    finally:
        os.close(directory)


def _names(directory: int) -> list[str]:
    """The names that have a socket."""
    sockets = [file for file in sorted(os.listdir(directory)) if file.endswith(".sock")]
    return [file[:-5] for file in sockets if runtime_dir.is_name(file[:-5])]


def _running(directory: int) -> list[str]:
    return [name for name in _names(directory) if _holder(directory, name)[0]]


def _has_own_socket(directory: int, name: str) -> bool | None:
    """None when there is nothing any more."""
    try:
        status = os.stat(f"{name}.sock", dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return runtime_dir.is_own_socket(status)


def _wait_for_end(pid: int) -> None:
    """A stop that has returned leaves nothing behind, not even the process that was asked."""
    if not pid:
        return
    if hasattr(os, "pidfd_open"):
        # Tells of the end at once; the number lives on until the parent has taken notice of it,
        # which in a container may be seconds later or never.
        import select

        try:
            end = os.pidfd_open(pid)
        except OSError:
            return
        try:
            select.select([end], [], [], ENDING)
        finally:
            os.close(end)
        return
    deadline = time.monotonic() + ENDING
    while _exists(pid) and time.monotonic() < deadline:
        time.sleep(0.005)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _not_running(name: str, running: list[str] | None = None) -> Reply:
    others = f" (running: {', '.join(running)})" if running else ""
    return Reply(NOT_RUNNING, f"tunnel {name!r} is not running{others}", answered=False)


def _silent(op: str, name: str, pid: int, reason: str) -> Reply:
    process = f" (process {pid})" if pid else ""
    return Reply(_SILENT[op], f"tunnel {name!r}{process} {reason}", answered=False)
