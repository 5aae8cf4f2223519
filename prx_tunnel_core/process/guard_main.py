"""The guard itself, run as a script; standard library only, so that it is small and starts fast.

    guard_main.py HOST_PID HOST_TOKEN

Reads `+PID` and `-PID` lines: the groups to end when the host dies, known by its pidfd. Groups
first get TERM, for a program that leaves in order keeps its visitors; soon after KILL. What left
its group is found by the token in its environment.
"""

import os
import select
import signal
import sys
import time

POLITE = 0.5  # seconds between TERM and KILL
PATIENCE = 1.2  # seconds of looking for what still runs after KILL
POLL = 0.02


def main(host: int, token: bytes) -> None:
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_IGN)
    groups: dict[int, bytes] = {}
    wait_for_end(host, groups)
    end(groups, token)


def wait_for_end(host: int, groups: dict[int, bytes]) -> None:
    """Return when the host has died, or says `end`."""
    watch = HostWatch(host)
    os.set_blocking(0, False)
    begun, open_ = b"", True
    while True:
        died = watch.wait(open_)
        chunk = read() if open_ else None
        open_ = open_ and chunk != b""
        *lines, begun = (begun + (chunk or b"")).split(b"\n")
        for line in lines:
            if line == b"end":
                return
            if line[:1] == b"+":
                groups[int(line[1:])] = start_time(int(line[1:]))
            elif line[:1] == b"-":
                groups.pop(int(line[1:]), None)
        if died and not chunk:
            return


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

    def wait(self, listen: bool) -> bool:
        if not listen:
            try:
                self.poll.unregister(0)
            except KeyError:
                pass
        if os.getppid() != self.host:
            return True
        # Without a pidfd: a look at the parent twenty times a second.
        events = self.poll.poll(None if self.fd >= 0 else 50)
        return any(fd == self.fd for fd, _ in events) or os.getppid() != self.host


def end(groups: dict[int, bytes], token: bytes) -> None:
    ours = [pid for pid, started in groups.items() if start_time(pid) in (b"", started)]
    for pid in ours:
        signal_group(pid, signal.SIGTERM)
        signal_group(pid, signal.SIGCONT)
    wait_until_gone(ours, token, POLITE)
    for pid in ours:
        signal_group(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    quiet = 0
    # Twice in a row: one may have been between fork and exec, without our token yet.
    while quiet < 2 and time.monotonic() < deadline:
        found = [signal_pid(pid) for pid in carriers(token)]
        quiet = 0 if any(found) else quiet + 1
        time.sleep(POLL)


def wait_until_gone(groups: "list[int]", token: bytes, limit: float) -> None:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if not any(signal_group(pid, 0) for pid in groups) and not carriers(token):
            return
        time.sleep(POLL)


def carriers(token: bytes) -> "list[int]":
    """Processes whose environment bears the host's token; zombies have none."""
    if sys.platform != "linux":
        return []
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/" + name + "/environ", "rb", 0) as file:
                    if token in (file.read(1 << 20) or b""):
                        found.append(int(name))
            except OSError:
                continue
    return found


def start_time(pid: int) -> bytes:
    """When the process started, in ticks; b"" when there is none, or no way to know."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[19]
    except (OSError, IndexError):
        return b""


def signal_group(pid: int, number: int) -> bool:
    try:
        os.killpg(pid, number)
    except OSError:
        return False
    return True


def signal_pid(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2].encode())
