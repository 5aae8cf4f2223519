"""How late an event loop is: a timer each millisecond, and by how much it misses."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

TICK = 0.001


class Lag:
    """`async with Lag() as lag`: afterwards `lag.seconds` holds each delay."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(TICK)
            self.seconds.append(time.perf_counter() - begun - TICK)
