"""The agent that `prx start` runs, and the signals that it is sent.

It runs in the terminal and process group of prx, as if started alone. Signals are forwarded to it
once. The terminal sends Ctrl-C to its whole foreground process group, so the agent has received it
already; a second signal would make some programs exit at once (uvicorn is one). sigwaitinfo(2)
reports whether the kernel or a process sent a signal. macOS lacks it, and it misses signals that
arrive while a program is being started: then an interrupt counts as the terminal's if prx is in the
terminal's foreground.
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

from prx_tunnel_core.process._exit_watch import ExitWatch
from prx_tunnel_core.process._reaper import guard, tokens

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # the exit codes of shells
BY_SIGNAL = 128
GRACE = 5.0  # seconds between SIGTERM and SIGKILL, when prx itself fails

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
        """Send a signal; does nothing if the agent has exited."""
        self._process.send_signal(number)

    def shares_our_terminal(self) -> bool:
        """Whether a signal that the terminal sends to our process group reaches the agent too."""
        try:
            return os.getpgid(self.pid) == os.getpgrp()
        except ProcessLookupError:
            return False

    async def wait(self) -> int:
        """Wait for the agent; return its exit code as a shell would report it."""
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
    """Run the agent; it is ended if the context is left before it exits, as when prx fails.

    If prx is killed, the guard ends the agent and its children, unless it `outlives_us`: otherwise
    a forgotten server would keep its port. Children of an agent that exited by itself are left
    alone, as they would be without prx. Raises OSError if the agent cannot be started.
    """
    environment = dict(env)
    if not outlives_us:
        inherited = environment.get(tokens.TOKEN_VARIABLE, "")
        environment[tokens.TOKEN_VARIABLE] = inherited + tokens.agent_token()
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
            guard.spare(tokens.agent_token())
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
    """The exit code and the message for an agent that cannot be started."""
    if isinstance(error, FileNotFoundError):
        return NOT_FOUND, f"{program!r} was not found; give its full path, or add it to PATH"
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return NOT_EXECUTABLE, f"{program!r} cannot be run: {reason}"


class SignalForwarder:
    """Forwards signals to the agent, for the rest of this process; keeps an early one for it."""

    def __init__(self) -> None:
        self.early = 0
        """The first signal that arrived before the agent was started; 0 if none did."""
        self._agent: Agent | None = None
        self._turn = threading.RLock()  # reentrant: a handler may interrupt the holder

    def install(self) -> None:
        # The agent inherits the signals that nohup or a shell has set to be ignored.
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
                self._take(got.si_signo, by_terminal=got.si_code > 0)  # sent by the kernel

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
