"""The guard, which runs as a script; standard library only, so that it is small and starts fast.

    guard_main.py HOST_PID HOST_TOKEN

Standard input has what to end when the host dies, one order a line:

    +PID    end this process group        ~TOKEN  leave processes with this token alone
    *PID    end this process              /PATH   remove this folder (in hexadecimal digits)
    -PID    neither any more              !PATH   do not any more

Processes that left their group are found by the host's token in their environment. All get TERM,
as a program that ends in order lets its visitors finish, and KILL half a second later.

As soon as it has started, it also ends what a host left that was killed together with its guard.
"""

import os
import select
import signal
import sys

if __name__ == "__main__":
    # Empty packages for its imports: the real ones would import all of core.
    path = os.path.abspath(__file__)
    for name in ("prx_tunnel_core.process._reaper", "prx_tunnel_core.process", "prx_tunnel_core"):
        path = os.path.dirname(path)
        sys.modules[name] = type(sys)(name)
        sys.modules[name].__path__ = [path]

from prx_tunnel_core.process._reaper import sweep
from prx_tunnel_core.process._reaper.folders import remove, remove_abandoned
from prx_tunnel_core.process._reaper.orphans import end_orphans
from prx_tunnel_core.process._reaper.procfs import (
    environment,
    is_ours,
    processes,
    start_time,
    state_and_group,
)
from prx_tunnel_core.process._reaper.tokens import of_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection


def main(host: int, token: bytes) -> None:
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_IGN)
    if is_ours():
        look_for_orphans(host)
    orders = Orders()
    wait_for_end(host, orders)
    end(orders.targets, token, orders.spared)
    for folder in orders.folders:
        remove(folder)


def look_for_orphans(host: int) -> None:
    """In a child, because a look at a process may hang and must not stop the guard.

    It also outlives the guard of a host that ends soon.
    """
    inherited = environment(host) or b""
    if os.getppid() != host:
        return  # that was the environment of another process, if any
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the child is not waited for
    try:
        if os.fork():
            return
    except OSError:
        return
    try:
        end_orphans(inherited)
        remove_abandoned(os.environ.get("TMPDIR", ""))
    finally:
        os._exit(0)


class Orders:
    """What the host has said so far."""

    def __init__(self) -> None:
        self.targets: dict[int, bytes] = {}
        """As kill(2) takes them: a negative number is a group. With the start of the process."""
        self.spared: set[bytes] = set()
        self.folders: set[str] = set()

    def note(self, line: bytes) -> None:
        kind, value = line[:1], line[1:]
        if kind == b"~":
            self.spared.add(value)
        elif kind in (b"/", b"!"):
            change = self.folders.add if kind == b"/" else self.folders.discard
            change(os.fsdecode(bytes.fromhex(value.decode())))
        elif kind == b"-":
            self.targets.pop(-int(value), None)
            self.targets.pop(int(value), None)
        elif (pid := int(value)) > 1:  # to kill(2), -1 means every process
            self.targets[-pid if kind == b"+" else pid] = start_time(pid)


def wait_for_end(host: int, orders: Orders) -> None:
    """Return when the host has died, says `end`, or has closed its end of the pipe.

    It closes the pipe when it becomes another program; when it dies, a forked worker may still hold
    a copy.
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
            orders.note(line)
        if chunk == b"" or (died and chunk is None):
            return


def read() -> "bytes | None":
    """What the host has written; b"" when it has closed its end, None when there is nothing."""
    try:
        return os.read(0, 65536)
    except BlockingIOError:
        return None


class HostWatch:
    """Waits for the end of the host, or an order; by getppid() where there is no pidfd."""

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
        """Return when there is an order, or True when the host has died."""
        if os.getppid() != self.host:
            return True
        # Without a pidfd: look at the parent twenty times a second.
        events = self.poll.poll(None if self.fd >= 0 else 50)
        return any(fd == self.fd for fd, _ in events) or os.getppid() != self.host


def end(targets: "dict[int, bytes]", token: bytes, spared: "Collection[bytes]" = ()) -> None:
    ours = [
        target
        for target, started in targets.items()
        # One that started at another time is another process with that id.
        if start_time(abs(target)) in (b"", started)
    ]
    for target in ours:
        send(target, signal.SIGTERM)
        send(target, signal.SIGCONT)
    wanted = of_host(token, spared)
    asked = sweep.ask(wanted, skip=lambda pid: pid in ours or -group(pid) in ours)
    sweep.wait_while(lambda: bool(running(ours)) or sweep.left(asked, wanted))
    for target in running(ours):
        send(target, signal.SIGKILL)
    # Two passes that find nothing: a child of the host may not have called exec() yet, and have no
    # token.
    sweep.kill(wanted, quiet=2)


def group(pid: int) -> int:
    return state_and_group(pid)[1]


def running(targets: "list[int]") -> "list[int]":
    """Those with a process that runs; a zombie does not, as its parent may never reap it."""
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
