"""Learn of a process' end without reaping it, so that its number stays ours meanwhile."""

from __future__ import annotations

import os
import select
import sys

import anyio

POLL = 0.02  # seconds, where the system offers nothing better


class ExitWatch:
    """Watches one child: a pidfd on Linux, a kqueue on macOS; no thread, no signal handler."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._fd: int | None = None
        self._queue: object = None
        if sys.platform == "linux":
            try:
                self._fd = os.pidfd_open(pid)
            except OSError:  # a kernel before 5.3, or a sandbox without the call
                return
        elif sys.platform == "darwin":
            queue = select.kqueue()
            queue.control(
                [select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)],
                0,
            )
            self._queue, self._fd = queue, queue.fileno()

    async def wait(self) -> None:
        """Return once the process has ended; it is still to be reaped."""
        if self._fd is not None:
            await anyio.wait_readable(self._fd)
            return
        while not self._ended():
            await anyio.sleep(POLL)

    def _ended(self) -> bool:
        try:
            return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            if sys.platform == "darwin":
                self._queue = None  # closes its descriptor
            else:
                os.close(fd)
