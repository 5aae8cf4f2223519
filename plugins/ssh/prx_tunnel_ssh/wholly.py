"""Awaits that happen wholly or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import CancelScope

T = TypeVar("T")


async def wholly(
    awaitable: Awaitable[T], *, undo: Callable[[T], Awaitable[None]], interrupt: bool
) -> T:
    """Await in a task of its own; when cancelled, wait for its end and undo what it has made.

    With `interrupt` the task is cancelled too. Without, it is short and must not be: asyncio's
    `create_server` loses its socket when it is cancelled at its last step. Nor could what is
    awaited clean up by itself: a cancel scope interrupts each of its awaits again.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        if interrupt:
            task.cancel()
        with CancelScope(shield=True):
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                await undo(task.result())
        raise
    return task.result()
