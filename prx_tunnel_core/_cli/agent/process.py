"""The agent that `prx start` runs, and the signals that it is sent.

It runs in our terminal and our process group, as if started alone. Signals are forwarded to it,
each once. The terminal sends Ctrl-C to its whole foreground process group, so the agent has
received that one when we have; a second one would be taken for impatience (uvicorn then exits at
once). sigwaitinfo(2) reports the sender of a signal to a thread that waits for it. On macOS, which
does not have it, and while a program is being started, an interrupt counts as the terminal's if we
are in its foreground.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import FrameType

import anyio

from prx_tunnel_core.process import _group
from prx_tunnel_core.process._exit_watch import ExitWatch
from prx_tunnel_core.process._reaper import guard

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # what shells make of it
BY_SIGNAL = 128
GRACE = 5.0  # seconds to end in, when prx itself fails

FORWARDED = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip


class Agent:
    """A running agent."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self._process = process
        self._exit = ExitWatch(process)

    @property
    def runs(self) -> bool:
        return self._process.returncode is None

    def send(self, number: int) -> None:
        """A signal; nothing happens when it has ended."""
        self._process.send_signal(number)

    def shares_our_terminal(self) -> bool:
        """Whether what the terminal sends to our group reaches the agent too."""
        try:
            return os.getpgid(self.pid) == os.getpgrp()
        except ProcessLookupError:
            return False

    async def wait(self) -> int:
        """The exit code as a shell tells it, once the agent has ended."""
        await self._exit.wait()
        code = self._process.wait()
        return code if code >= 0 else BY_SIGNAL - code

    async def end(self) -> None:
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        with anyio.move_on_after(GRACE):
            await self._exit.wait()
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self._exit.close()


@asynccontextmanager
async def run_agent(
    command: Sequence[str], env: Mapping[str, str], *, outlives_us: bool
) -> AsyncIterator[Agent]:
    """Run the agent. Leaving before it has ended, which only a failure of ours does, ends it.

    Should prx be killed, the guard ends the agent and what it started, unless it `outlives_us`: a
    server that nobody knows of any more would keep its port. What is left of an agent that ended by
    itself is nobody's to end, as without us. Raises OSError when it cannot be started.
    """
    environment = dict(env)
    if not outlives_us:
        inherited = environment.get(_group.TOKEN_VARIABLE, "")
        environment[_group.TOKEN_VARIABLE] = inherited + _group.agent_token()
        guard.prepare()
    agent = Agent(_spawn(command, environment))
    if not outlives_us:
        guard.adopt(agent.pid, alone=True)
    try:
        yield agent
    finally:
        if agent.runs:
            with anyio.CancelScope(shield=True):
                await agent.end()
        elif not outlives_us:
            guard.spare(_group.agent_token())
        if not outlives_us:
            guard.release(agent.pid)
        agent.close()


def _spawn(command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # Signals are blocked in this process, and a child inherits what its parent blocks.
    blocked = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        return subprocess.Popen(command, env=env)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def explain(error: OSError | ValueError, program: str) -> tuple[int, str]:
    """The exit code and the reason when the agent cannot be started."""
    if isinstance(error, FileNotFoundError):
        return NOT_FOUND, f"{program!r} was not found; give its path, or put it on PATH"
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return NOT_EXECUTABLE, f"{program!r} cannot be run: {reason}"


class SignalForwarder:
    """For the rest of the process' life; before there is an agent, a signal is remembered."""

    def __init__(self) -> None:
        self.early = 0
        """The number of a signal that came before there was an agent."""
        self._agent: Agent | None = None
        self._turn = threading.RLock()  # a handler may interrupt who holds it

    def install(self) -> None:
        # What nohup or a shell has set to be ignored, the agent ignores too, for it inherits that.
        ours = [each for each in FORWARDED if signal.getsignal(each) is not signal.SIG_IGN]
        for each in ours:
            signal.signal(each, self._handle)
        signal.pthread_sigmask(signal.SIG_BLOCK, ours)
        listener = threading.Thread(target=self._listen, args=(ours,), daemon=True)
        listener.start()

    def forward_to(self, agent: Agent | None) -> None:
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
