"""Sleep, and wake with the machine: while it is suspended, the clock of the loop stands still.

Otherwise a tunnel that died while a laptop was closed would be looked at half a minute after it is
opened, and an attempt that was due meanwhile would still be waited for.
"""

from __future__ import annotations

import time

import anyio

LOOK = 5.0  # seconds between two looks at the clocks
SUSPENDED = 5.0  # seconds that count; the clocks differ a little by themselves


def asleep() -> float:
    """Seconds that this machine has been suspended since its start; 0 where nobody tells.

    Linux tells, by a clock that goes on: see clock_gettime(2).
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else time.clock_gettime(clock) - time.monotonic()


async def sleep(seconds: float) -> bool:
    """Sleep so long, or until the machine has been suspended; whether it was."""
    before = asleep()
    end = anyio.current_time() + seconds
    while True:
        left = end - anyio.current_time()
        await anyio.sleep(max(0.0, min(left, LOOK)))
        if asleep() - before > SUSPENDED:
            return True
        if left <= LOOK:
            return False
