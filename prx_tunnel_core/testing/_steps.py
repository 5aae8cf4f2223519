"""Run a coroutine and have a say each time that it waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class TunnelView(Awaitable[T], Generic[T]):
    """Awaits the coroutine, and calls `on_wait(n)` when it is about to wait for the n-th time.

    Below the event loop's own words (`async with`, tasks) there is only this: a generator that
    hands something to the loop. So it works on each loop, and sees each await of this task.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], on_wait: Callable[[int], None]) -> None:
        self._coroutine = coroutine
        self._on_wait = on_wait

    def __await__(self) -> Generator[Any, Any, T]:
        waits = 0
        resume: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        while True:
            try:
                waited_for = resume(value)
            except StopIteration as end:
                result: T = end.value
                return result
            waits += 1
            self._on_wait(waits)
            try:
                value, resume = (yield waited_for), self._coroutine.send
            except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine
                value, resume = error, self._coroutine.throw
