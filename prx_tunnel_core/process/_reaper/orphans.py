"""What is left of hosts that were killed together with their guards; Linux only.

A program bears a token in its environment, or a chain of them, as hosts run in hosts. The last one
names its host (`group.host_token`) by number, start and namespaces, never by number alone: that may
be another process by now. The boot need not be named, for no environment outlives it.

What the agent of `prx start` left is not judged (`group.agent_token`): it is meant to live on when
that agent has ended in order.

The guard uses this, which runs as a script: standard library only, and little of that.
"""

import os
import select
import signal
import sys
import time

from prx_tunnel_core.process._reaper.procfs import (
    VARIABLE,
    arguments,
    environment,
    lives,
    origin,
    processes,
    same_user,
    state_and_group,
)

POLITE = 0.5  # seconds between TERM and KILL
PATIENCE = 1.2  # seconds of looking for what still runs after KILL


def end_leftovers(inherited: bytes) -> None:
    """End what `leftovers` finds, by TERM, soon after by KILL."""
    if not (left := hold_leftovers(inherited)):
        return
    signal_and_release(left, POLITE, signal.SIGTERM, signal.SIGCONT)
    deadline = time.monotonic() + PATIENCE
    # Again until there is none, for one may fork while it is looked for.
    while time.monotonic() < deadline and (left := hold_leftovers(inherited)):
        signal_and_release(left, deadline - time.monotonic(), signal.SIGKILL)


def leftovers(inherited: bytes) -> dict[int, bytes]:
    """The processes of this user whose host is gone, and so is its guard; each with that host.

    Not those of a host that the `inherited` environment names: whoever has it was started by what
    is left, and so perhaps was the terminal that it runs in.
    """
    hosts = {pid: dead_host(pid) for pid in processes()}
    found = {pid: host for pid, host in hosts.items() if host and host not in inherited}
    if not found:
        return {}
    # Their guard ends them itself, and lets them leave in order.
    guarded = {guarded_host(pid) for pid in processes()}
    found = {pid: host for pid, host in found.items() if host not in guarded}
    # Asked again, for a guard may have done its work before it was looked for.
    return {pid: host for pid, host in found.items() if dead_host(pid) == host}


def guarded_host(pid: int) -> bytes:
    """The token of the host whose guard this process is, if it is one and runs; else b"".

    Not a stopped one, nor a process that only has the token somewhere in its arguments, nor one of
    another user, who can start anything with the arguments of a guard.
    """
    _, *words = arguments(pid).split(b"\0")
    if len(words) != 6 or words[:2] != [b"-I", b"-S"] or not words[2].endswith(b"/guard_main.py"):
        return b""
    works = same_user(pid) and state_and_group(pid)[0] not in b"TtZX"
    return words[4] if works else b""


def dead_host(pid: int) -> bytes:
    """The token of the host that started the process, if that is certain to be gone; else b"".

    A host of another namespace is not judged, for its number means something else there; nor is one
    whose token does not tell when it started.
    """
    host, _, child = last_token(environment(pid) or b"").rpartition(b".")
    _, *fields = host.split(b".")
    if len(fields) != 4 or not all(map(is_number, [*fields, child])):
        return b""
    number, started, *namespaces = map(int, fields)
    known_here = started and namespaces[0] and (*namespaces,) == origin()[1:]
    gone = known_here and same_user(pid) and not lives(number, started)
    return host + b"." if gone else b""


def last_token(variables: bytes) -> bytes:
    """That of the innermost host; b"" when there is none, or the chain does not end with one."""
    value, end, _ = (b"\0" + variables).partition(b"\0%b=" % VARIABLE)[2].partition(b"\0")
    *tokens, rest = value.split(b";")
    return tokens[-1] if tokens and end and not rest else b""


def is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) < 20


def hold_leftovers(inherited: bytes) -> list[int]:
    """Their pidfds."""
    held: list[int] = []
    if sys.platform != "linux":
        return held
    for pid, host in leftovers(inherited).items():
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        # Asked again now that the descriptor holds this very process: by the time of a signal, its
        # number alone could be another's.
        if dead_host(pid) == host:
            held.append(fd)
        else:
            os.close(fd)
    return held


def signal_and_release(held: list[int], patience: float, *numbers: int) -> None:
    """Signal all, and wait until they have ended or the time is over."""
    if sys.platform != "linux":
        return
    deadline = time.monotonic() + patience
    for fd in held:
        for number in numbers:
            try:
                signal.pidfd_send_signal(fd, number)
            except OSError:
                continue
    for fd in held:
        # No select(): it takes no descriptor beyond 1023.
        waiting = select.poll()
        waiting.register(fd, select.POLLIN)
        waiting.poll(1000 * max(0, deadline - time.monotonic()))
        os.close(fd)
