"""One request to the control socket of a running tunnel.

A reply is what the subcommand of `prx tunnel` prints, and the code that it exits with. Imports next
to nothing, because `prx tunnel status` waits for it.
"""

from __future__ import annotations

import _socket  # what `socket` is made of, for a tenth of the time that importing that takes
import os
import sys
import time

from prx_tunnel_core._control import runtime_dir
from prx_tunnel_core._control.operations import OPERATIONS

SILENCE = 2.0  # seconds without a byte after which the other process is reported as suspended
ENDING = 2.0  # seconds to wait for the end of a process that has announced it
CHANGING = 0.5  # seconds in which a process that starts or ends may hold the lock without a socket
LARGEST_REPLY = 4 * 1024 * 1024  # bytes

NOT_RUNNING = 3

_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2  # <sys/un.h> of macOS


class Reply:
    """The exit code and the text to print; unless `answered`, the text is the client's own."""

    def __init__(self, code: int, text: str, *, answered: bool = True) -> None:
        self.code = code
        self.text = text
        self.answered = answered


def call(op: str, name: str, form: str = "text") -> Reply:
    """Send an operation to the tunnel of that name; a failure to get an answer is a reply too.

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
    """Connect; try again for a moment while a process holds the lock but has no socket."""
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
    pid, user = peer_credentials(connection)
    if not is_trusted(user):
        return _silent(op, name, pid, f"belongs to user {user}")
    connection.sendall(f'{{"v": 1, "op": "{op}", "as": "{form}"}}\n'.encode())
    header, _, body = _receive(connection).partition(b"\n")
    words = header.split()
    if not words:
        # Not "is not running": it may have done part of what it was asked to do.
        return _silent(op, name, pid, "ended or closed the connection before it answered")
    if words[0] != b"prx-tunnel/1" or not _is_code(words[1:2]):
        return _silent(op, name, pid, "runs another version of prx; stop it with kill")
    if words[2:] == [b"ending"]:
        _wait_for_end(pid)
    return Reply(int(words[1]), body.decode("utf-8", "replace"))


def _is_code(words: list[bytes]) -> bool:
    """Whether this is one exit code; Python refuses to parse very long numbers."""
    return bool(words) and words[0].isdigit() and len(words[0]) <= 3


def _receive(connection: _socket.socket) -> bytes:
    waiting = b"prx-tunnel/1 wait\n"
    received = b""
    while len(received) <= LARGEST_REPLY and (chunk := connection.recv(65536)):
        received += chunk
        while received.startswith(waiting):
            received = received[len(waiting) :]
    return received


def peer_credentials(connection: _socket.socket) -> tuple[int, int]:
    """Process and user id of the other end; process 0 when it is in another PID namespace."""
    if sys.platform == "darwin":  # struct xucred: version, user, groups
        user = _integer(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76), 1)
        return _integer(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4), 0), user
    raw = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return _integer(raw, 0), _integer(raw, 1)


def _integer(raw: bytes, index: int) -> int:
    return int.from_bytes(raw[4 * index : 4 * index + 4], sys.byteorder)


def is_trusted(user: int) -> bool:
    """Whether it is this user, or root, who can do everything anyway."""
    return user in (os.geteuid(), 0)


def _holder(directory: int, name: str) -> tuple[bool, int]:
    """Whether a process holds the name's lock, and the process id in the lock file."""
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
    """The names whose process was killed, and the paths where something else replaces a socket.

    Raises SetupError when the runtime directory cannot be trusted.
    """
    path = runtime_dir.runtime_path()
    try:
        directory = runtime_dir.open_directory(path, create=False)
    except FileNotFoundError:
        return [], []
    try:
        names = _names(directory)
        # A process locks the name before it creates the socket, and unlocks it after removing it.
        free = [name for name in names if not _holder(directory, name)[0]]
        ours = {name: _has_own_socket(directory, name) for name in names}
    finally:
        os.close(directory)
    in_the_way = [os.path.join(path, f"{name}.sock") for name in names if ours[name] is False]
    return [name for name in free if ours[name]], in_the_way


def running() -> list[str]:
    """The names of this user's tunnels in all processes; raises SetupError as `call` does."""
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
    """None when the socket no longer exists."""
    try:
        status = os.stat(f"{name}.sock", dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return runtime_dir.is_own_socket(status)


def _wait_for_end(pid: int) -> None:
    """Wait until the process has ended, so that a `stop` that returned leaves nothing behind."""
    if not pid:
        return
    if hasattr(os, "pidfd_open"):
        # Readable as soon as the process ends. Its number exists until the parent has reaped it,
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
    return Reply(OPERATIONS[op].unanswered, f"tunnel {name!r}{process} {reason}", answered=False)
