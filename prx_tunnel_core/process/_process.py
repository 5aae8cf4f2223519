"""A program that runs: its output drained for life, its end noticed, its whole group ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, TypeVar

import anyio

from prx_tunnel_core.backend import Connection
from prx_tunnel_core.errors import ProgramExited, ProgramStuck
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Check
from prx_tunnel_core.process import _group
from prx_tunnel_core.process._connection import CheckedProcessConnection, ProcessConnection
from prx_tunnel_core.process._exit_watch import ExitWatch, how_it_ended
from prx_tunnel_core.process._reading import Reader
from prx_tunnel_core.process._reaper import guard, strays
from prx_tunnel_core.process._spawn import (
    check,
    child_environment,
    find_program,
    reveal,
    spawn,
)
from prx_tunnel_core.text import Redactor

if TYPE_CHECKING:
    from pydantic import SecretStr

logger = get_logger("prx_tunnel_core")

T = TypeVar("T")

MAX_GRACE = float("inf")  # seconds; the contract kit lowers it, to test programs that ignore TERM
PIPE_HELD = 0.02  # seconds after the exit; then somebody who left the group holds the pipe
DRAIN_AFTER_EXIT = 0.5  # seconds that output may still be read
SHOWN = 300  # characters of a line in an error; the tail has all of it
REAP = 5.0  # seconds that a killed program may take; one in an uninterruptible call takes longer
REAP_AT_ONCE = 0.5  # seconds that the loop may stand still for it, when nothing else is left
NO_ENV: Mapping[str, str] = MappingProxyType({})


class TunnelProcess:
    """A running tunnel program; `open_process` makes it."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str | SecretStr],
        cwd: str | None,
        on_line: Callable[[str], None] | None,
        redact: Redactor,
        program_hint: str,
    ) -> None:
        check(command)
        path = find_program(command[0], hint=program_hint)
        plain, hidden = reveal(env)
        self._token = _group.new_token()
        inherited = os.environ.get(_group.TOKEN_VARIABLE, "")
        plain[_group.TOKEN_VARIABLE] = inherited + self._token
        self.name = os.path.basename(path)
        self.returncode: int | None = None
        redact.add(*hidden)
        self._output = Reader(self.name, redact, on_line)
        self._reaped = anyio.Event()
        self._ended = anyio.Event()
        self._stopping = False
        self._asked = anyio.Event()
        self._group_gone = False
        self._swept = False
        self._life = anyio.CancelScope(shield=True)
        self._host = os.getpid()
        guard.prepare()
        self._popen = spawn([path, *command[1:]], env=child_environment(plain), cwd=cwd)
        # From here on nothing may raise, for nobody would end the program.
        self.pid = self._popen.pid
        guard.adopt(self.pid)
        logger.info("%s runs %s as process %d", self.name, path, self.pid)
        self._exit = ExitWatch(self._popen)

    @property
    def tail(self) -> deque[str]:
        """The last lines of both streams, without escapes and secrets."""
        return self._output.tail

    def __repr__(self) -> str:
        return f"<TunnelProcess {self.name} {self.pid}>"  # never the arguments

    async def first_match(self, find: Callable[[str], T | None]) -> T:
        """What `find` makes of the first line that it makes something of.

        Looks at the tail first, then at each new line of either stream. Raises ProgramExited, with
        the last lines, when the program ends before.
        """
        waiter = self._output.wait_for(find)
        try:
            if not self._ended.is_set():
                await waiter.done.wait()
        finally:
            self._output.forget(waiter)
        if waiter.error is not None:
            raise waiter.error
        if waiter.found is None:
            raise self._exited()
        return waiter.found

    async def wait(self) -> int:
        """The exit code (negative: a signal), once the program has ended and its output is read."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def has_ended(self) -> bool:
        """Whether the program has, by the system's word: an event loop may miss it.

        A fork of the host that unwinds the loop it was forked in takes the ears of its parent's.
        """
        return self.returncode is not None or self._exit.has_ended()

    def exit_reason(self) -> str:
        """How it ended, with its last lines, for an error or a status."""
        lines = self.last_lines()
        return f"{self.name} {how_it_ended(self.returncode)}{': ' if lines else ''}{lines}"

    def last_lines(self, count: int = 5) -> str:
        """The last lines that say something, on one line."""
        said = [line.strip() for line in self.tail if line.strip()][-count:]
        return " | ".join(line if len(line) <= SHOWN else f"{line[:SHOWN]}..." for line in said)

    def connection(
        self,
        public_url: str,
        *,
        details: Mapping[str, str] = NO_ENV,
        check: Callable[[], Awaitable[Iterable[Check]]] | None = None,
    ) -> Connection:
        """A connection that lives as long as this program."""
        if check is None:
            return ProcessConnection(self, public_url, details)
        return CheckedProcessConnection(self, public_url, details, check)

    def kill(self) -> None:
        """End the whole group at once, as if from outside; the context still clears up."""
        if self.returncode is None:
            _group.signal_group(self.pid, signal.SIGKILL)

    def _exited(self) -> ProgramExited:
        return ProgramExited(
            self.exit_reason(), returncode=self.returncode or 0, tail=tuple(self.tail)
        )

    async def _live(self) -> None:
        """Read and watch until the end, whoever cancels: ending in order needs both."""
        with self._life:
            while not self._ended.is_set():
                try:
                    await self._watch()
                except anyio.get_cancelled_exc_class():
                    # asyncio.run() ends with a cancellation of every task, past every shield.
                    if self._life.cancel_called or self._is_fork():
                        raise

    async def _watch(self) -> None:
        async with anyio.create_task_group() as streams:
            for pipe in self._pipes():
                os.set_blocking(pipe.fileno(), False)
                streams.start_soon(self._output.drain, pipe.fileno())
            await self._exit.wait()
            # Until the leader is reaped, the group's number is certainly ours.
            if not self._stopping:
                _group.signal_group(self.pid, signal.SIGKILL)
            self.returncode = self._popen.wait()
            self._group_gone = not self._stopping or not _group.group_alive(self.pid)
            self._reaped.set()
            with anyio.move_on_after(PIPE_HELD):
                await self._output.drained.wait()
            if not self._output.drained.is_set():
                if self._stopping:
                    await self._asked.wait()  # whoever holds the pipe may still be leaving
                await strays.end_escaped(self._token)
            streams.cancel_scope.deadline = anyio.current_time() + DRAIN_AFTER_EXIT
        self._close()

    def _pipes(self) -> list[IO[bytes]]:
        return [pipe for pipe in (self._popen.stdout, self._popen.stderr) if pipe is not None]

    def _close(self) -> None:
        self._ended.set()
        self._output.close()

    async def _end(self, grace: float, stop_signals: Sequence[signal.Signals]) -> None:
        self._stopping = True
        try:
            if self._is_fork():
                return
            for number, each in enumerate(stop_signals):
                await self._ask(each, grace if number == 0 else 0.5)
            await self._kill()
        finally:
            self._life.cancel()

    async def _ask(self, each: signal.Signals, patience: float) -> None:
        """Ask the group to end and wait until all of it has, or the time is over."""
        if not self._alive():
            return
        # CONT, for a stopped program would take the signal only when continued.
        _group.signal_group(self.pid, each, signal.SIGCONT)
        with anyio.move_on_after(min(patience, MAX_GRACE)):
            await self._reaped.wait()
            while self._alive():
                await anyio.sleep(0.01)

    async def _kill(self) -> None:
        if self._alive():
            _group.signal_group(self.pid, signal.SIGKILL)
        self._asked.set()
        await strays.end_escaped(self._token)
        self._swept = True
        with anyio.move_on_after(REAP):
            await self._ended.wait()
            while self._alive():
                await anyio.sleep(0.005)

    def _alive(self) -> bool:
        """Whether anyone is left in the group; not asked again once it was empty."""
        if self.returncode is not None and not self._group_gone:
            self._group_gone = not _group.group_alive(self.pid)
        return not self._group_gone

    def _release(self) -> None:
        """Give everything back, once nothing reads or watches any more."""
        if self._is_fork():
            return
        if self.returncode is None or not self._swept:
            self._end_at_once()
        if self.returncode is not None:
            guard.release(self.pid)
        self._close()
        self._exit.close()
        for pipe in self._pipes():
            pipe.close()

    def _complain_if_stuck(self) -> None:
        if self.returncode is None and not self._is_fork():
            raise ProgramStuck(
                f"{self.name} (process {self.pid}) does not end, even by KILL: it is stuck in a "
                "call of the system, such as one to a disk that is gone; look for the cause there"
            ) from None

    def _is_fork(self) -> bool:
        """Whether a fork of the host leaves the context: the program is its parent's."""
        return os.getpid() != self._host

    def _end_at_once(self) -> None:
        """A second cancellation by asyncio itself broke into the orderly end."""
        if self._alive():
            _group.signal_group(self.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # whoever leaves the context is told
            self.returncode = self._popen.wait(REAP_AT_ONCE)
        strays.end_escaped_at_once(self._token)
