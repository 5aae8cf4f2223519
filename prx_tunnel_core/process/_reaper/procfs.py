"""What /proc tells of processes; nothing at all where there is none, as on macOS.

The guard uses it, which runs as a script: standard library only, and little of that.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = b"PRX_TUNNEL_CHILD"  # whose value are the tokens of a program, each ended by `;`
CHUNK = 32 * 1024  # bytes; room for the longest environment would cost more than most reads


def is_ours() -> bool:
    """Whether there is a /proc whose numbers are those by which we know processes.

    After `unshare --pid` without a new /proc, they are those of the namespace outside.
    """
    return sys.platform == "linux" and content("/proc/self/stat").startswith(b"%d " % os.getpid())


def origin() -> tuple[int, int, int]:
    """When this process started, in ticks, and the namespaces of its number and of that time.

    With its number, this is one process of all of this boot. Zeros where it cannot be known.
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
        time_namespace = 0  # kernels before 5.6 know none
    return int(started), pid_namespace, time_namespace


def lives(pid: int, started: int) -> bool:
    """Whether that number is still the process that started then; a stopped one lives, too."""
    fields = fields_after_name(pid)
    if len(fields) < 20:
        return exists(pid)  # perhaps one that we may not see
    # When its first thread has ended it looks like a zombie, whatever its others do.
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

    By its status: /proc/PID itself belongs to root as soon as a process makes itself undumpable.
    """
    users = content(f"/proc/{pid}/status").partition(b"\nUid:")[2].split(None, 2)[:2]
    return users == [b"%d" % os.getuid(), b"%d" % os.geteuid()]


def carriers(token: bytes, spared: "Iterable[bytes]" = ()) -> list[int]:
    """Processes of this user that carry a token of the host's, and none of the spared ones.

    Zombies have none. Another user can read the host's token in the guard's arguments, and copy it.
    """
    host, others = token.rstrip(b".") + b".", {each.rstrip(b";") for each in spared}
    found = []
    for pid in processes():
        carried = tokens_in(environment(pid) or b"")
        of_host = any(each.startswith(host) for each in carried)
        if of_host and others.isdisjoint(carried) and same_user(pid):
            found.append(pid)
    return found


def tokens_in(variables: bytes) -> list[bytes]:
    """The tokens in an environment: a program that is a host hands on those of all hosts above."""
    if VARIABLE not in variables:
        return []  # nearly all of them
    _, *values = (b"\0" + variables).split(b"\0%b=" % VARIABLE)
    return [each for value in values for each in value.partition(b"\0")[0].split(b";")]


def processes() -> list[int]:
    """All that we see, where they can be known."""
    if not is_ours():
        return []
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def environment(pid: int) -> bytes | None:
    """The variables of a process, as it was given them.

    None where there are none to be known: threads of the kernel, zombies, programs of others. Empty
    for a moment while it becomes another program: neither those it had nor those it will have.
    """
    return read(f"/proc/{pid}/environ")


def arguments(pid: int) -> bytes:
    """What the process was started with; nothing, also, while it becomes another program."""
    return content(f"/proc/{pid}/cmdline")


def state_and_group(pid: int) -> tuple[bytes, int]:
    fields = fields_after_name(pid)
    return (fields[0], int(fields[2])) if len(fields) > 2 else (b"X", 0)


def start_time(pid: int) -> bytes:
    """When the process started, in ticks; b"" when there is none, or no way to know."""
    fields = fields_after_name(pid) if is_ours() else []
    return fields[19] if len(fields) > 19 else b""


def fields_after_name(pid: int) -> list[bytes]:
    # The name may itself hold parentheses and spaces.
    return content(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def content(path: str) -> bytes:
    return read(path) or b""


def read(path: str) -> bytes | None:
    """All of a file; None when it cannot be read."""
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
