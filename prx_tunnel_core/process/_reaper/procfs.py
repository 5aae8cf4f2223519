"""Processes as /proc shows them; nothing where there is no /proc, as on macOS.

The guard imports this: standard library only.
"""

import os
import sys

CHUNK = 32 * 1024  # bytes; room for the longest environment would cost more than most reads


def is_ours() -> bool:
    """Whether there is a /proc that shows the PID namespace of this process.

    After `unshare --pid` without a new /proc, it shows the namespace outside.
    """
    return sys.platform == "linux" and content("/proc/self/stat").startswith(b"%d " % os.getpid())


def origin() -> tuple[int, int, int]:
    """When this process started, in ticks, and its PID and time namespaces.

    Together with its id, this identifies one process of this boot. Zeros where it is unknown.
    """
    started = start_time(os.getpid())
    if not started:
        return 0, 0, 0
    try:
        pid_namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0, 0, 0
    try:
        time_namespace = os.stat("/proc/self/ns/time").st_ino
    except OSError:
        time_namespace = 0  # a kernel before 5.6
    return int(started), pid_namespace, time_namespace


def lives(pid: int, started: int) -> bool:
    """Whether the id still belongs to the process that started then, running or stopped."""
    fields = fields_after_name(pid)
    if len(fields) < 20:
        return exists(pid)  # it may be hidden from us
    # A process whose first thread has ended looks like a zombie, even while others run.
    return int(fields[19]) == started and (fields[0] not in b"ZX" or int(fields[17]) > 1)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def same_user(pid: int) -> bool:
    """Whether this user runs the process.

    Read from its status: /proc/PID belongs to root once a process makes itself undumpable.
    """
    users = content(f"/proc/{pid}/status").partition(b"\nUid:")[2].split(None, 2)[:2]
    return users == [b"%d" % os.getuid(), b"%d" % os.geteuid()]


def processes() -> list[int]:
    """The ids of all processes that are visible."""
    if not is_ours():
        return []
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def environment(pid: int) -> bytes | None:
    """The environment that a process was started with.

    None for kernel threads, zombies and other users' processes. Empty for a moment during exec(),
    when the process has neither its old variables nor the new ones.
    """
    return read(f"/proc/{pid}/environ")


def arguments(pid: int) -> bytes:
    """The arguments that a process was started with; empty also during exec()."""
    return content(f"/proc/{pid}/cmdline")


def state_and_group(pid: int) -> tuple[bytes, int]:
    fields = fields_after_name(pid)
    return (fields[0], int(fields[2])) if len(fields) > 2 else (b"X", 0)


def start_time(pid: int) -> bytes:
    """When the process started, in ticks; b"" when that is unknown."""
    fields = fields_after_name(pid) if is_ours() else []
    return fields[19] if len(fields) > 19 else b""


def fields_after_name(pid: int) -> list[bytes]:
    # The name may itself hold parentheses and spaces.
    return content(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def content(path: str) -> bytes:
    return read(path) or b""


def read(path: str) -> bytes | None:
    """The whole file; None when it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        chunks = [os.read(file, CHUNK)]
        while len(chunks[-1]) == CHUNK:
            chunks.append(os.read(file, CHUNK))
    except OSError:
        return None
    finally:
        os.close(file)
    return b"".join(chunks)
