"""The guard itself, run as a script; standard library only, so that it is small and starts fast.

    guard_main.py HOST_PID HOST_TOKEN

Reads lines about what to end when the host dies, known by its pidfd: `+PID` a group, `*PID` one
process, `-PID` neither any more. What left its group is found by the token in its environment, but
for those that bear one named by `~TOKEN`. All first get TERM, for a program that leaves in order
keeps its visitors; soon after KILL. Then the folders are removed that were named by `/PATH`, in
hexadecimal digits, and not by `!PATH` since.

What is left of a host that was killed together with its guard, it ends and removes as soon as it
has started.
"""

import os
import select
import signal
import sys
import time

if __name__ == "__main__":
    # The packages of what it imports, without what they import: that would be all of the core.
    path = os.path.abspath(__file__)
    for name in ("prx_tunnel_core.process._reaper", "prx_tunnel_core.process", "prx_tunnel_core"):
        path = os.path.dirname(path)
        sys.modules[name] = type(sys)(name)
        sys.modules[name].__path__ = [path]

from prx_tunnel_core.process._abandoned import remove, remove_abandoned
from prx_tunnel_core.process._reaper.orphans import PATIENCE, POLITE, end_leftovers
from prx_tunnel_core.process._reaper.procfs import (
    carriers,
    environment,
    is_ours,
    processes,
    start_time,
    state_and_group,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

POLL = 0.02


def main(host: int, token: bytes) -> None:
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_IGN)
    if is_ours():
        look_for_leftovers(host)
    targets: dict[int, bytes] = {}
    spared: set[bytes] = set()
    folders: set[str] = set()
    wait_for_end(host, targets, spared, folders)
    end(targets, token, spared)
    for folder in folders:
        remove(folder)


def look_for_leftovers(host: int) -> None:
    """In a process of its own, for what it looks at may hang, and must not keep the guard.

    It also outlives the guard of a host that ends soon.
    """
    inherited = environment(host) or b""
    if os.getppid() != host:
        return  # whose environment that was, if any, is not known
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for it
    try:
        if os.fork():
            return
    except OSError:
        return
    try:
        end_leftovers(inherited)
        remove_abandoned(os.environ.get("TMPDIR", ""))
    finally:
        os._exit(0)


def wait_for_end(
    host: int, targets: "dict[int, bytes]", spared: "set[bytes]", folders: "set[str]"
) -> None:
    """Return when the host has died, says `end`, or has closed its end of the pipe.

    It closes that when it becomes another program; when it dies, a forked worker may hold a copy.
    """
    watch = HostWatch(host)
    os.set_blocking(0, False)
    begun = b""
    while True:
        died = watch.wait()
        chunk = read()
        *lines, begun = (begun + (chunk or b"")).split(b"\n")
        for line in lines:
            if line == b"end":
                return
            if line[:1] == b"~":
                spared.add(line[1:])
            elif line[:1] in (b"/", b"!"):
                change = folders.add if line[:1] == b"/" else folders.discard
                change(os.fsdecode(bytes.fromhex(line[1:].decode())))
            else:
                note(line, targets)
        if chunk == b"" or (died and chunk is None):
            return


def note(line: bytes, targets: "dict[int, bytes]") -> None:
    """Targets are numbers as kill(2) takes them: a negative one is a group."""
    pid = int(line[1:])
    if line[:1] == b"-":
        targets.pop(-pid, None)
        targets.pop(pid, None)
    elif pid > 1:  # to kill(2), -1 is every process there is
        targets[-pid if line[:1] == b"+" else pid] = start_time(pid)


def read() -> "bytes | None":
    """What the host says; b"" when it has closed its end, None when it says nothing now."""
    try:
        return os.read(0, 65536)
    except BlockingIOError:
        return None


class HostWatch:
    """Waits for the host's end or for a word of it; getppid tells where there is no pidfd."""

    def __init__(self, host: int) -> None:
        self.host = host
        self.fd = -1
        if sys.platform == "linux":
            try:
                self.fd = os.pidfd_open(host)
            except OSError:
                self.fd = -1
        self.poll = select.poll()
        self.poll.register(0, select.POLLIN)
        if self.fd >= 0:
            self.poll.register(self.fd, select.POLLIN)

    def wait(self) -> bool:
        """Return at a word of the host, or True when it has died."""
        if os.getppid() != self.host:
            return True
        # Without a pidfd: a look at the parent twenty times a second.
        events = self.poll.poll(None if self.fd >= 0 else 50)
        return any(fd == self.fd for fd, _ in events) or os.getppid() != self.host


def end(targets: "dict[int, bytes]", token: bytes, spared: "Collection[bytes]" = ()) -> None:
    # A number that now names a process begun at another time is no longer ours.
    ours = [each for each, started in targets.items() if start_time(abs(each)) in (b"", started)]
    ask(ours)
    strays = [pid for pid in carriers(token, spared) if not {pid, -group(pid)} & {*ours}]
    ask(strays)
    deadline = time.monotonic() + POLITE
    while running(ours + strays) and time.monotonic() < deadline:
        time.sleep(POLL)
    for target in running(ours):
        send(target, signal.SIGKILL)
    sweep(token, spared)


def ask(targets: "list[int]") -> None:
    for target in targets:
        send(target, signal.SIGTERM)
        send(target, signal.SIGCONT)


def group(pid: int) -> int:
    return state_and_group(pid)[1]


def sweep(token: bytes, spared: "Collection[bytes]") -> None:
    """By the token, not by the numbers from before: those may be other processes by now."""
    deadline = time.monotonic() + PATIENCE
    quiet = 0
    # Twice in a row: one may have been between fork and exec, without our token yet.
    while quiet < 2 and time.monotonic() < deadline:
        found = [send(pid, signal.SIGKILL) for pid in carriers(token, spared)]
        quiet = 0 if any(found) else quiet + 1
        time.sleep(POLL)


def running(targets: "list[int]") -> "list[int]":
    """Those of whom somebody runs; a zombie, that its parent does not reap, does not."""
    existing = [each for each in targets if send(each, 0)]
    if not existing or not is_ours():
        return existing
    alive = set()
    for pid in processes():
        state, its_group = state_and_group(pid)
        if state not in b"ZX":
            alive |= {pid, -its_group}
    return [each for each in existing if each in alive]


def send(target: int, number: int) -> bool:
    try:
        os.kill(target, number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2].encode())
