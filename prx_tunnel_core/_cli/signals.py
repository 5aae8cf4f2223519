"""SIGINT, SIGTERM and SIGHUP request a clean stop, whenever and however often they arrive."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class StopSignals:
    """Signal handlers for the rest of this process.

    They are never removed: a second Ctrl-C, or a late one, must not interrupt the clean-up that the
    first one requested.
    """

    def __init__(self) -> None:
        self.requested = False
        self._callback: Callable[[], object] | None = None

    def install(self) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup, and shells that start a background job, ignore signals on purpose.
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, self._note)

    def on_signal(self, function: Callable[[], object] | None) -> None:
        """Call the function at each signal, and at once if one has arrived already."""
        self._callback = function
        if self.requested and function is not None:
            function()

    async def wait(self) -> None:
        """Return once a stop is requested. Runs on asyncio."""
        import asyncio

        loop = asyncio.get_running_loop()
        asked = asyncio.Event()
        with _woken_by_signals(loop):
            # A handler may run in the middle of the loop's code: only this call is safe there.
            self.on_signal(lambda: loop.call_soon_threadsafe(asked.set))
            try:
                await asked.wait()
            finally:
                self.on_signal(None)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        if self._callback is not None:
            self._callback()


@contextlib.contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let a signal wake the event loop even if it does not interrupt the main thread.

    Python runs a handler before its next instruction. A sleeping loop executes none if the signal
    arrived just before it fell asleep, or was delivered to another thread.
    """
    ours, pythons = socket.socketpair()
    with ours, pythons:
        ours.setblocking(False)
        pythons.setblocking(False)
        loop.add_reader(ours, ours.recv, 4096)
        before = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(ours)
