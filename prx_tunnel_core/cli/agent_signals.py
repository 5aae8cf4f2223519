"""Signals of `prx start`, passed on to the agent, each once.

Ctrl-C is sent by the terminal to everybody in the foreground, so the agent has got that one when
we do; a second would be taken for impatience (uvicorn then leaves at once). Who has sent a signal
is told by sigwaitinfo(2) to a thread that waits for it. Where there is none (macOS), and in the
moments in which a program is started, a handler takes an interrupt for the terminal's while we are
in its foreground.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from types import FrameType

from prx_tunnel_core.cli.agent_process import Agent

PASSED_ON = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip
_OF_THE_KEYBOARD = (signal.SIGINT, signal.SIGQUIT)


class PassedOn:
    """For the rest of the process' life; without an agent, a signal is only remembered."""

    def __init__(self) -> None:
        self.early = 0
        """The number of a signal that came before there was an agent."""
        self._agent: Agent | None = None

    def install(self) -> None:
        # What nohup or a shell has set to be ignored, the agent ignores too, for it inherits that.
        ours = [each for each in PASSED_ON if signal.getsignal(each) is not signal.SIG_IGN]
        for each in ours:
            signal.signal(each, self._handle)
        if hasattr(signal, "sigwaitinfo"):
            signal.pthread_sigmask(signal.SIG_BLOCK, ours)
            threading.Thread(
                target=self._listen, args=(ours,), name="prx signals", daemon=True
            ).start()

    def hand_over(self, agent: Agent | None) -> None:
        self._agent = agent

    def _listen(self, ours: Iterable[signal.Signals]) -> None:
        while True:
            got = signal.sigwaitinfo(ours)
            self._take(got.si_signo, by_the_kernel=got.si_code > 0)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._take(number, by_the_kernel=number in _OF_THE_KEYBOARD and _in_the_foreground())

    def _take(self, number: int, *, by_the_kernel: bool) -> None:
        agent = self._agent
        if agent is None:
            self.early = self.early or number
        elif not (by_the_kernel and agent.shares_our_terminal()):
            agent.send(number)


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
