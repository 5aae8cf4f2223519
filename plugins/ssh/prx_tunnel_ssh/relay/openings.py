"""Opening channels to a guest, within a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Openings:
    """The channels that one guest has not accepted or refused yet.

    A channel that misses the deadline stays counted, because asyncssh keeps it until the guest
    answers.
    """

    def __init__(self, most: int, seconds: float, tasks: set[asyncio.Task[Any]]) -> None:
        """`tasks` gets the tasks that open channels, which may outlast their visitors."""
        self._most = most
        self._seconds = seconds
        self._tasks = tasks
        self._open = 0

    async def open(self, opening: Coroutine[Any, Any, T], discard: Callable[[T], object]) -> T:
        """Raises TimeoutError; a channel that opens too late is discarded."""
        if self._open >= self._most:
            opening.close()
            raise TimeoutError
        self._open += 1
        task = asyncio.get_running_loop().create_task(opening)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(task)
        except (TimeoutError, asyncio.CancelledError):
            task.add_done_callback(lambda late: _discard(late, discard))
            raise

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._open -= 1
        self._tasks.discard(task)


def _discard(task: asyncio.Task[T], discard: Callable[[T], object]) -> None:
    if not task.cancelled() and task.exception() is None:
        discard(task.result())
