"""Notice the end of a process without reaping it, so that its id is not reused meanwhile."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable

import anyio

POLL = 0.02  # seconds between two looks, where the system has no events


class ExitWatch:
    """Watches one child: a pidfd on Linux, a kqueue on macOS; no thread, no signal handler."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._fd: int | None = None
        self._close: Callable[[], None] | None = None
        try:
            if sys.platform == "linux":
                fd = self._fd = os.pidfd_open(process.pid)
                self._close = lambda: os.close(fd)
            elif sys.platform == "darwin":
                queue = _exit_queue(process.pid)
                self._fd, self._close = queue.fileno(), queue.close
        except OSError:
            return  # a kernel before 5.3, a sandbox, no descriptor left: it is polled instead

    async def wait(self) -> None:
        """Return once the process has ended; the caller reaps it."""
        if self._fd is not None:
            await anyio.wait_readable(self._fd)
            return
        while not self.has_ended():
            await anyio.sleep(POLL)

    def has_ended(self) -> bool:
        """Whether the process has ended, asked of the system."""
        if sys.platform == "darwin":  # has waitid since Python 3.13 only
            return self._process.poll() is not None
        pid = self._process.pid
        try:
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def close(self) -> None:
        close, self._close, self._fd = self._close, None, None
        if close is not None:
            close()


if sys.platform == "darwin":

    def _exit_queue(pid: int) -> select.kqueue:
        queue = select.kqueue()
        event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
        try:
            queue.control([event], 0)
        except OSError:  # also for one that is about to end
            queue.close()
            raise
        return queue


def how_it_ended(code: int | None) -> str:
    """What an exit code means, to be shown after the program's name."""
    if code is None:
        return "is running"
    if code < 0:
        return f"was ended by {_signal_name(-code)}"
    return f"exited with code {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
