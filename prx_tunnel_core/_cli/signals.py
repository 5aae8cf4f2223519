"""SIGINT, SIGTERM and SIGHUP: each asks for a clean stop, whenever and how often it comes."""

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
    """Handlers for the rest of the process' life.

    They are not taken back: a second Ctrl-C, or one in the last moments, must not cut off the
    cleaning up that the first one asked for.
    """

    def __init__(self) -> None:
        self.requested = False
        self._tell: Callable[[], object] | None = None

    def install(self) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup, and a shell that starts a job in the background, have said what they want.
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, self._note)

    def tell(self, function: Callable[[], object] | None) -> None:
        """Call the function at each signal, and now if one came before."""
        self._tell = function
        if self.requested and function is not None:
            function()

    async def wait(self) -> None:
        """Return once a stop was asked for. Runs on asyncio."""
        import asyncio

        loop = asyncio.get_running_loop()
        asked = asyncio.Event()
        with _woken_by_signals(loop):
            # A handler runs between two instructions: only this way may it touch the loop.
            self.tell(lambda: loop.call_soon_threadsafe(asked.set))
            try:
                await asked.wait()
            finally:
                self.tell(None)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        if self._tell is not None:
            self._tell()


@contextlib.contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Have a signal wake the loop when it interrupts nothing.

    Python runs a handler at its next instruction. There is none while the loop sleeps and the
    signal came just before it fell asleep, or was taken by another thread.
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
