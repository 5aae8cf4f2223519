"""A fork of the process that runs a tunnel has no part in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prx_tunnel_core._control.name_lock import AlreadyRunning, NameLock

pytestmark = pytest.mark.usefixtures("runtime")


def fork(work: Callable[[], None], wait: int) -> int:
    """Run it in a fork, which then lives until the descriptor is readable; its process id."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(tell, b"!")
            os.read(wait, 1)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(tell)
    assert os.read(told, 1) == b"!"
    os.close(told)
    return pid


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_it_neither_holds_the_name_nor_gives_it_back(runtime: Path) -> None:
    lock = NameLock("default")
    lock.listen()
    wait, end = os.pipe()
    pid = fork(lock.release, wait)
    try:
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
            NameLock("default")
        assert lock.is_intact()
        assert (runtime / "default.sock").exists()
        lock.release()
        again = NameLock("default")  # although the fork still runs
        again.listen()
        again.release()
    finally:
        os.write(end, b"!")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        os.close(wait)
        os.close(end)
