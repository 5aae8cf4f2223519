"""A sleep that ends early when the machine resumes from suspend.

The clock of the event loop stands still during a suspend. Without this, a tunnel that died while a
laptop was closed would be checked up to half a minute after it is opened again, and an attempt that
came due meanwhile would still be waited for.
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
    """Seconds that this machine has been suspended since its start; 0 where this is unknown.

    Linux has a clock that goes on during a suspend: see clock_gettime(2).
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else time.clock_gettime(clock) - time.monotonic()


class _Sleepers:
    """The sleepers of one event loop, one of which reads the clocks for all.

    With a thousand tunnels, a timer for each would cost CPU time.
    """

    def __init__(self) -> None:
        self.turn = anyio.Lock()
        self.since: dict[anyio.CancelScope, float] = {}
        """The value of `asleep` when each of them began to sleep."""
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
    """Sleep for `seconds`, or until the machine was suspended; return whether it was."""
    sleepers, before = loop_local(_sleepers, _Sleepers), asleep()
    with anyio.move_on_after(seconds) as scope:
        sleepers.since[scope] = before
        try:
            async with sleepers.turn:
                await sleepers.look()
        finally:
            del sleepers.since[scope]
    return asleep() - before > SUSPENDED
