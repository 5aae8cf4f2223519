"""Run a program while a context lasts: read its output, notice its end, end its whole group."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

import anyio

from prx_tunnel_core.backend import Connection
from prx_tunnel_core.errors import ProgramExited, ProgramStuck, TunnelError, unwrap_group
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Check
from prx_tunnel_core.process import _group, _spawn
from prx_tunnel_core.process._exit_watch import ExitWatch, how_it_ended
from prx_tunnel_core.process._output import Reader
from prx_tunnel_core.process._reaper import guard, strays, tokens
from prx_tunnel_core.text import Redactor

if TYPE_CHECKING:
    from pydantic import SecretStr

logger = get_logger("prx_tunnel_core")

T = TypeVar("T")

MAX_GRACE = float("inf")  # seconds; the contract kit lowers it, to test programs that ignore TERM
PIPE_HELD = 0.02  # seconds after the exit; then a process outside the group holds the pipe
NEXT_SIGNAL = 0.5  # seconds after each further stop signal
DRAIN_AFTER_EXIT = 0.5  # seconds for reading the rest of the output
REAP = 5.0  # seconds for a killed program to end; uninterruptible system calls take longer
REAP_AT_ONCE = 0.5  # seconds for the same where the event loop has to be blocked
NO_ENV: Mapping[str, str] = {}

# A list that the supervisor sets before it connects, to show the output of what was started.
started: ContextVar[list[TunnelProcess] | None] = ContextVar("started", default=None)


class TunnelProcess:
    """A running tunnel program, as `open_process` yields it.

    `name` is its file name, `pid` its process id, which is also the id of its process group, and
    `returncode` its exit code (negative: the signal that ended it), None as long as it runs.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str | SecretStr],
        cwd: str | None,
        on_line: Callable[[str], None] | None,
        redact: Redactor,
        program_hint: str,
    ) -> None:
        path = _spawn.find_program(_spawn.checked(command)[0], hint=program_hint)
        self._token = tokens.new_token()
        environment, hidden = _spawn.child_environment(env, self._token)
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
        self._popen = _spawn.spawn([path, *command[1:]], env=environment, cwd=cwd)
        self._pipes = [each for each in (self._popen.stdout, self._popen.stderr) if each]
        # Nothing may raise from here on: the caller could not end the program.
        self.pid = self._popen.pid
        guard.adopt(self.pid)
        logger.info("%s runs %s as process %d", self.name, path, self.pid)
        self._exit = ExitWatch(self._popen)

    @property
    def tail(self) -> deque[str]:
        """The last 50 lines of both streams, without terminal escapes and secrets."""
        return self._output.tail

    def __repr__(self) -> str:
        return f"<TunnelProcess {self.name} {self.pid}>"  # never the arguments

    async def first_match(self, find: Callable[[str], T | None]) -> T:
        """Wait for a line for which `find` returns something, and return that.

            url = await process.first_match(lambda line: line if line.startswith("https") else None)

        `find` is called with each line of `tail`, then with each new line of either stream.
        Raises ProgramExited, with the last lines, when the program ends first; an exception of
        `find` is raised here.
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
            code = self.returncode or 0
            raise ProgramExited(self.exit_reason(), returncode=code, tail=tuple(self.tail))
        return waiter.found

    async def wait(self) -> int:
        """Wait until the program has ended and its output is read; return the exit code.

        The code is negative when a signal ended the program: -15 for TERM.
        """
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def has_ended(self) -> bool:
        """Whether the program has ended, asked of the system rather than the event loop.

        The loop may miss an exit: a fork of the host that unwinds its copy of the loop also removes
        the parent's exit watchers.
        """
        return self.returncode is not None or self._exit.has_ended()

    def exit_reason(self) -> str:
        """How the program ended and its last lines, for an error or a status.

        For example: `bore exited with code 1: starting | invalid secret`.
        """
        lines = self.last_lines()
        return f"{self.name} {how_it_ended(self.returncode)}{': ' if lines else ''}{lines}"

    def last_lines(self, count: int = 5) -> str:
        """The last lines that are not blank, joined into one, each cut at 300 characters."""
        return self._output.last_lines(count)

    def connection(
        self,
        public_url: str,
        *,
        details: Mapping[str, str] = NO_ENV,
        check: Callable[[], Awaitable[Iterable[Check]]] | None = None,
    ) -> Connection:
        """A connection that is closed when this program ends.

        `details` is shown by `prx tunnel status`; `check` becomes `Connection.check`.
        """
        kind = ProcessConnection if check is None else CheckedProcessConnection
        return kind(self, public_url, details, check)

    def kill(self) -> None:
        """Kill the whole process group, as if from outside; the context still cleans up."""
        if self.returncode is None:
            _group.signal_group(self.pid, signal.SIGKILL)


class ProcessConnection(Connection):
    """A connection that lives as long as a program."""

    def __init__(
        self,
        process: TunnelProcess,
        public_url: str,
        details: Mapping[str, str],
        check: Callable[[], Awaitable[Iterable[Check]]] | None = None,
    ) -> None:
        self._process = process
        self.public_url = public_url
        self.details = details
        self._check = check

    def has_ended(self) -> bool:
        return self._process.has_ended()

    async def wait_closed(self) -> str:
        await self._process.wait()
        return self._process.exit_reason()


class CheckedProcessConnection(ProcessConnection):
    """One whose backend has a check; only then is `Connection.check` overridden."""

    async def check(self) -> Iterable[Check]:
        return () if self._check is None else await self._check()


class _SupervisedProcess(TunnelProcess):
    """The half of a program that belongs to `open_process`: reading, watching and ending it."""

    @asynccontextmanager
    async def supervised(
        self, grace: float, stop_signals: Sequence[signal.Signals]
    ) -> AsyncIterator[TunnelProcess]:
        try:
            with unwrap_group():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._live)
                    try:
                        yield self
                    finally:
                        with anyio.CancelScope(shield=True):
                            await self._end(grace, stop_signals)
        finally:
            if not self._is_fork():
                self._release()

    async def _live(self) -> None:
        """Read and watch until the end, even when cancelled: an orderly end needs both."""
        with self._life:
            while not self._ended.is_set():
                try:
                    await self._watch()
                except anyio.get_cancelled_exc_class():
                    # At its end, asyncio.run() cancels every task, shielded or not.
                    if self._life.cancel_called or self._is_fork():
                        raise

    async def _watch(self) -> None:
        async with anyio.create_task_group() as streams:
            for pipe in self._pipes:
                os.set_blocking(pipe.fileno(), False)
                streams.start_soon(self._output.drain, pipe.fileno())
            await self._exit.wait()
            # Until the leader is reaped, the group's number cannot belong to another process.
            if not self._stopping:
                _group.signal_group(self.pid, signal.SIGKILL)
            self.returncode = self._popen.wait()
            self._group_gone = not self._stopping or not _group.group_alive(self.pid)
            self._reaped.set()
            with anyio.move_on_after(PIPE_HELD):
                await self._output.drained.wait()
            if not self._output.drained.is_set():
                if self._stopping:
                    await self._asked.wait()  # the process that holds the pipe may be leaving
                await strays.end_strays(self._token)
            streams.cancel_scope.deadline = anyio.current_time() + DRAIN_AFTER_EXIT
        self._ended.set()
        self._output.close()

    async def _end(self, grace: float, stop_signals: Sequence[signal.Signals]) -> None:
        self._stopping = True
        try:
            if self._is_fork():
                return
            for number, each in enumerate(stop_signals):
                if self._alive():
                    await self._ask(each, NEXT_SIGNAL if number else grace)
            if self._alive():
                _group.signal_group(self.pid, signal.SIGKILL)
            self._asked.set()
            await strays.end_strays(self._token)
            self._swept = True
            with anyio.move_on_after(REAP):
                await self._ended.wait()
                while self._alive():
                    await anyio.sleep(0.005)
        finally:
            self._life.cancel()

    async def _ask(self, each: signal.Signals, patience: float) -> None:
        """Signal the group and wait until all of it has ended, or the time is over."""
        # CONT, because a stopped program takes the signal only when it is continued.
        _group.signal_group(self.pid, each, signal.SIGCONT)
        with anyio.move_on_after(min(patience, MAX_GRACE)):
            await self._reaped.wait()
            while self._alive():
                await anyio.sleep(0.01)

    def _alive(self) -> bool:
        """Whether any process of the group is left; not asked again once it was empty."""
        if self.returncode is not None and not self._group_gone:
            self._group_gone = not _group.group_alive(self.pid)
        return not self._group_gone

    def _release(self) -> None:
        """Release everything, once nothing reads or watches any more."""
        if self.returncode is None or not self._swept:
            # Without awaiting: a second cancellation by asyncio interrupted the orderly end.
            if self._alive():
                _group.signal_group(self.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):  # reported below
                self.returncode = self._popen.wait(REAP_AT_ONCE)
            strays.end_strays_at_once(self._token)
        if self.returncode is not None:
            guard.release(self.pid)
        self._ended.set()
        self._output.close()
        self._exit.close()
        for pipe in self._pipes:
            pipe.close()
        if self.returncode is None:
            raise ProgramStuck(
                f"{self.name} (process {self.pid}) does not end, even by KILL: it is stuck in a "
                "system call, such as one to a disk that is gone; look for the cause there"
            ) from None

    def _is_fork(self) -> bool:
        """Whether this is a fork of the host: the program belongs to its parent."""
        return os.getpid() != self._host


@asynccontextmanager
async def open_process(
    command: Sequence[str],
    *,
    env: Mapping[str, str | SecretStr] = NO_ENV,
    grace: float = 5.0,
    cwd: str | None = None,
    on_line: Callable[[str], None] | None = None,
    secrets: Iterable[str] = (),
    stop_signals: Sequence[signal.Signals] = (signal.SIGTERM,),
    program_hint: str = "",
) -> AsyncIterator[TunnelProcess]:
    """Run a program while the context lasts, and leave nothing of it behind.

        async with open_process(["bore", "local", "3000"], env={"BORE_SECRET": secret}) as process:
            url = await process.first_match(find_url)
            yield process.connection(url)

    The program is found as by `find_program` and runs without a shell. It gets a short list of
    variables and `env`; a `SecretStr` there, like each of `secrets`, is masked in all output.
    `on_line` is called with each line of both streams, free of terminal escapes and secrets.

    Leaving sends each of `stop_signals` to the whole process group, waits up to `grace` seconds
    after the first and half a second after each further one, then kills what is left, even when
    cancelled. Exceptions of the body are raised as they are, not in a group.

    Raises ProgramNotFound or SetupError when the program cannot be started, ConnectError for
    transient failures of that, and ProgramStuck, whatever else was raised, when it does not end.
    """
    redact = Redactor(secrets)
    del secrets  # tools that print the variables of a frame would show them in plain text
    try:
        async with _spawn.spawning():
            process = _SupervisedProcess(command, env, cwd, on_line, redact, program_hint)
    except TunnelError as error:
        # The frames below hold the variables in plain text; see above.
        raise error.with_traceback(None) from None
    if (collected := started.get()) is not None:
        collected.append(process)
    async with process.supervised(grace, stop_signals):
        yield process
