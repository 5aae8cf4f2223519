"""Signals of `prx start`, passed on to the agent, each once.

Ctrl-C is sent by the terminal to everybody in the foreground, so the agent has got that one when
we do; a second would be taken for impatience (uvicorn then leaves at once). Who has sent a signal
is told by sigwaitinfo(2) to a thread that waits for it. Where there is none (macOS), and in the
moments in which a program is started, an interrupt counts as the terminal's while we are in its
foreground.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable
from types import FrameType

from prx_tunnel_core._cli.agent.process import Agent

PASSED_ON = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip


class PassedOn:
    """For the rest of the process' life; before there is an agent, a signal is remembered."""

    def __init__(self) -> None:
        self.early = 0
        """The number of a signal that came before there was an agent."""
        self._agent: Agent | None = None
        self._turn = threading.RLock()  # a handler may interrupt who holds it

    def install(self) -> None:
        # What nohup or a shell has set to be ignored, the agent ignores too, for it inherits that.
        ours = [each for each in PASSED_ON if signal.getsignal(each) is not signal.SIG_IGN]
        for each in ours:
            signal.signal(each, self._handle)
        signal.pthread_sigmask(signal.SIG_BLOCK, ours)
        listener = threading.Thread(target=self._listen, args=(ours,), daemon=True)
        listener.start()

    def hand_over(self, agent: Agent | None) -> None:
        with self._turn:
            self._agent = agent
            if agent is not None and self.early:
                agent.send(self.early)

    def _listen(self, ours: Iterable[signal.Signals]) -> None:
        while True:
            if sys.platform == "darwin":
                number = signal.sigwait(ours)
                self._take(number, by_terminal=_seems_typed(number))
            else:
                got = signal.sigwaitinfo(ours)
                self._take(got.si_signo, by_terminal=got.si_code > 0)  # the kernel's

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._take(number, by_terminal=_seems_typed(number))

    def _take(self, number: int, *, by_terminal: bool) -> None:
        with self._turn:
            agent = self._agent
            if agent is None:
                self.early = self.early or number
            elif not (by_terminal and agent.shares_our_terminal()):
                agent.send(number)


def _seems_typed(number: int) -> bool:
    return number in (signal.SIGINT, signal.SIGQUIT) and _in_the_foreground()


def _in_the_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
