"""Find the processes of this user by their environment, and end them; Linux only.

Every search for what carries our tokens is here: for what left the group of a program (`strays`),
what a dead host left (`guard_main`), and what a host left whose guard died too (`orphans`).

The guard imports this: standard library only.
"""

import os
import signal
import sys
import time

from prx_tunnel_core.process._reaper.procfs import arguments, environment, processes, same_user
from prx_tunnel_core.process._reaper.tokens import host_token, of_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Wanted = Callable[[bytes], bool]
    """Judges the environment of a process."""

SLICE = 16  # processes that are looked at before other tasks run
POLITE = 0.5  # seconds between TERM and KILL
PATIENCE = 1.2  # seconds for the search for what still runs after KILL
POLL = 0.02  # seconds between two looks


def running() -> list[int]:
    """Every process that this host started through a tunnel and that still runs."""
    return carriers(of_host(host_token().encode()))


def carriers(wanted: "Wanted") -> list[int]:
    """The processes whose environment is wanted. Zombies have none.

    Other users' never: they can read a host's token in the arguments of its guard, and copy it.
    """
    return [pid for pid in processes() if wanted(environment(pid) or b"") and same_user(pid)]


def ask(wanted: "Wanted", skip: "Callable[[int], bool]" = lambda _pid: False) -> list[int]:
    """Send TERM to all whose environment is wanted, except those to skip; returns them."""
    # CONT, because a stopped process takes the signal only when it is continued.
    return [
        pid
        for pid in carriers(wanted)
        if not skip(pid) and send(pid, wanted, signal.SIGTERM, signal.SIGCONT)
    ]


def left(asked: list[int], wanted: "Wanted") -> bool:
    """Whether one of them still runs."""
    return any(wanted(environment(pid) or b"") for pid in asked)


def wait_while(condition: "Callable[[], bool]") -> None:
    """Give what was asked to end the time for it."""
    deadline = time.monotonic() + POLITE
    while condition() and time.monotonic() < deadline:
        time.sleep(POLL)


def kill(wanted: "Wanted", *, quiet: int = 1, patience: float = PATIENCE) -> None:
    """Kill all whose environment is wanted; blocks until none is left, or the time is over."""
    deadline = time.monotonic() + patience
    for passed in passes(wanted, quiet):
        if passed:
            if time.monotonic() > deadline:
                return
            time.sleep(POLL)


def passes(wanted: "Wanted", quiet: int = 1) -> "Iterator[bool]":
    """Kill all whose environment is wanted, in passes over all processes.

    Yields True after a pass, which is to be followed by a pause, and False within one, where other
    tasks may run. Ends when `quiet` passes in a row have found nothing: a process may fork while
    others are looked at.
    """
    look = _Look(wanted)
    found_nothing = 0
    while True:
        again = False
        for seen, pid in enumerate(processes()):
            again |= look.at(pid)
            if seen % SLICE == SLICE - 1:
                yield False
        found_nothing = 0 if again else found_nothing + 1
        if found_nothing == quiet:
            return
        yield True


class _Look:
    def __init__(self, wanted: "Wanted") -> None:
        self._wanted = wanted
        self._blank: set[int] = set()

    def at(self, pid: int) -> bool:
        """Kill the process if it is wanted; whether another pass is needed.

        It may have forked meanwhile. One with neither variables nor arguments is becoming another
        program.
        """
        variables = environment(pid)
        if variables == b"" and pid not in self._blank:
            if not arguments(pid):
                self._blank.add(pid)  # only once: some programs erase both
                return True
            variables = environment(pid)
        if not self._wanted(variables or b"") or not same_user(pid):
            return False
        return send(pid, self._wanted, signal.SIGKILL)


def send(pid: int, wanted: "Wanted", *numbers: int) -> bool:
    """Send the signals if the environment is still wanted; False when the process is gone."""
    if sys.platform != "linux":
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except OSError:  # a kernel before 5.3, a sandbox, no descriptor left
        handle = -1
    try:
        # Looked at again now that the handle refers to one process: its id alone could belong to
        # another one by now.
        if wanted(environment(pid) or b"") and same_user(pid):
            for number in numbers:
                if handle < 0:
                    os.kill(pid, number)
                else:
                    signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    finally:
        if handle >= 0:
            os.close(handle)
    return True
