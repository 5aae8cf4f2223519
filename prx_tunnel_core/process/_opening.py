"""Run a program for as long as a context lasts."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import anyio

from prx_tunnel_core.errors import TunnelError, unwrap_group
from prx_tunnel_core.process._process import NO_ENV, TunnelProcess
from prx_tunnel_core.process._spawn import spawning
from prx_tunnel_core.text import Redactor

if TYPE_CHECKING:
    from pydantic import SecretStr

# Whoever bounds an attempt to connect sets a list, and can then show what the programs said.
started: ContextVar[list[TunnelProcess] | None] = ContextVar("started", default=None)


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

    The child sees a short list of variables and `env`; a `SecretStr` there is masked in every line
    that comes back. `on_line` gets each line of both streams, free of escapes and secrets.

    Leaving sends each of `stop_signals` to the whole group, waits up to `grace` seconds after the
    first (half a second after each further one), and kills what is left; no cancellation prevents
    that. Exceptions of the body arrive as they were raised, not in a group.

    Raises ProgramNotFound or SetupError when it cannot be started, ConnectError when that passes,
    and ProgramStuck, before whatever else there was to raise, when it cannot be ended.
    """
    redact = Redactor(secrets)
    del secrets  # what is in plain text here, a tool that prints a frame's variables would print
    try:
        async with spawning():
            process = TunnelProcess(command, env, cwd, on_line, redact, program_hint)
    except TunnelError as error:
        # The frames below hold the variables in plain text, for any tool that prints locals.
        raise error.with_traceback(None) from None
    if (collected := started.get()) is not None:
        collected.append(process)
    try:
        with unwrap_group():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(process._live)  # noqa: SLF001 - one class in two functions
                try:
                    yield process
                finally:
                    with anyio.CancelScope(shield=True):
                        await process._end(grace, stop_signals)  # noqa: SLF001
    finally:
        process._release()  # noqa: SLF001
        process._complain_if_stuck()  # noqa: SLF001
