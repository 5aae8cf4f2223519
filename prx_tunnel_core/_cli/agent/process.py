"""The agent that `prx start` runs: in our terminal and our process group, as if started alone."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio

from prx_tunnel_core.process import _group
from prx_tunnel_core.process._exit_watch import ExitWatch
from prx_tunnel_core.process._reaper import guard

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # what shells make of it
BY_SIGNAL = 128
GRACE = 5.0  # seconds to end in, when prx itself fails


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
