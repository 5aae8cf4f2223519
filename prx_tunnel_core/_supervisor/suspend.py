"""Sleep, and wake with the machine: while it is suspended, the clock of the loop stands still.

Otherwise a tunnel that died while a laptop was closed would be looked at half a minute after it is
opened, and an attempt that was due meanwhile would still be waited for.
"""

from __future__ import annotations

import math
import time

import anyio
from anyio.lowlevel import RunVar

from prx_tunnel_core._loop_local import loop_local

LOOK = 5.0  # seconds between two looks at the clocks
SUSPENDED = 5.0  # seconds that count; the clocks differ a little by themselves


def asleep() -> float:
    """Seconds that this machine has been suspended since its start; 0 where nobody tells.

    Linux tells, by a clock that goes on: see clock_gettime(2).
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else time.clock_gettime(clock) - time.monotonic()


class _Sleepers:
    """Those of one event loop. One of them looks at the clocks for all: a thousand would cost."""

    def __init__(self) -> None:
        self.turn = anyio.Lock()
        self.since: dict[anyio.CancelScope, float] = {}
        """What `asleep` was when each of them fell asleep."""
        self._next_look = -math.inf

    async def look(self) -> None:
        while True:
            await anyio.sleep_until(self._next_look)
            self._next_look = anyio.current_time() + LOOK
            now = asleep()
            for scope, before in self.since.items():
                if now - before > SUSPENDED:
                    scope.cancel()


_sleepers: RunVar[_Sleepers] = RunVar("prx_tunnel_sleepers")


async def sleep(seconds: float) -> bool:
    """Sleep so long, or until the machine has been suspended; whether it was."""
    sleepers, before = loop_local(_sleepers, _Sleepers), asleep()
    with anyio.move_on_after(seconds) as scope:
        sleepers.since[scope] = before
        try:
            async with sleepers.turn:
                await sleepers.look()
        finally:
            del sleepers.since[scope]
    return asleep() - before > SUSPENDED
