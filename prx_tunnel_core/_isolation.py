"""Calls foreign code so that its errors, exits, hangs and cancellations do not reach the caller.

A coroutine that blocks the event loop cannot be stopped; only its author can correct that.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NoReturn, TypeVar

import anyio
import anyio.from_thread
from anyio.lowlevel import current_token

from prx_tunnel_core.text import one_line

T = TypeVar("T")

LONGEST_REASON = 300  # characters; foreign code may raise a whole document


class ForeignError(Exception):
    """Foreign code did not return a result; the cause is what it raised, if it raised."""


def describe(error: BaseException) -> str:
    """The error on one bounded line, for a log or a message."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the author's own __str__
        text = "(an error that cannot be shown)"
    kind = type(error).__name__
    line = one_line(f"{kind}: {text}" if text else kind)
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"


async def contain(call: Callable[[], Awaitable[T]], *, deadline: float) -> T:
    """The result of `await call()`; raises ForeignError without one within `deadline` seconds.

    It runs in a separate task: a coroutine that raises the event loop's cancellation, because it
    waits for a cancelled future, would otherwise end the caller's task.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    async def run() -> None:
        try:
            results.append(await call())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code raises anything
            errors.append(error)

    with anyio.move_on_after(deadline) as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
    if results:
        return results[0]
    if errors:
        _raise_foreign(errors[0])
    ended = f"did not return within {deadline:g} s" if scope.cancelled_caught else "was cancelled"
    raise ForeignError(ended)


def call_within(call: Callable[[], T], *, deadline: float) -> T:
    """The result of `call()`; raises what it raises, or ForeignError after `deadline` seconds.

    It runs in a daemon thread, which is then abandoned and does not keep the process from ending.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - nothing real is delivered to this thread
            errors.append(error)

    thread = threading.Thread(target=run, name="prx-tunnel foreign call", daemon=True)
    thread.start()
    thread.join(deadline)
    if errors:
        raise errors[0]
    if not results:
        raise ForeignError(f"did not return within {deadline:g} s")
    return results[0]


async def call_in_thread(call: Callable[[], T]) -> T:
    """The result of `call()`, run in a thread that is abandoned when the caller is cancelled.

    It is a daemon thread, not one of the event loop's pool: a call that never returns would keep
    the process from ending, and occupy a place in the pool for good.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = anyio.Event()
    token = current_token()

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - nothing real is delivered to this thread
            errors.append(error)
        with suppress(RuntimeError):  # the event loop has ended meanwhile
            anyio.from_thread.run_sync(done.set, token=token)

    threading.Thread(target=run, name="prx-tunnel foreign call", daemon=True).start()
    await done.wait()
    if errors and isinstance(errors[0], Exception):
        raise errors[0]
    if errors:
        _raise_foreign(errors[0])
    return results[0]


def _raise_foreign(error: BaseException) -> NoReturn:
    if isinstance(error, ForeignError):
        raise error
    raise ForeignError(describe(error)) from error
