"""Hosts that are killed at random moments leave nothing behind. Linux.

    python tests/soak_kills.py --kills 300

Each host keeps tunnels open over programs of every behaviour, starting and stopping them all the
time. Prints how many programs ran at the moments of the kills, and how long they took to be gone.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn

import anyio

from prx_tunnel_core.errors import TunnelError
from prx_tunnel_core.process._reaper import guard, sweep, tokens
from support.faults import FOR_EVER, UP, Programs
from support.proc import gone, guard_pid, program

LONGEST = 0.8  # seconds that a host lives after its guard is up
LIMIT = 5.0  # seconds after the kill; the guard itself takes less than two
BEHAVIOURS: Sequence[tuple[str, ...]] = (
    UP,
    ("ignore:TERM", *UP),
    ("on:TERM,sleep:0.1+exit:0", *UP),
    ("child:ignore:TERM;hang", *UP),
    ("escape:ignore:TERM;hang", *UP),
    ("daemonize:ignore:TERM;closeout;hang", *UP),
    ("child:stop;hang", UP[0], "stop", "hang"),
    ("daemonize:closeout;hang", UP[0], "exit:0"),
    ("escape:hang", "exit:1"),
    (UP[0], "flood:1000"),
    ("hang",),
)


class Killed(NamedTuple):
    programs: int
    """How many processes it had started that ran when it was killed."""
    seconds: float
    """Until all of them were gone."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    moments = random.Random(options.seed)
    killed = [kill_a_host(moments.uniform(0, LONGEST)) for _ in range(options.kills)]
    running, seconds = [each.programs for each in killed], [each.seconds for each in killed]
    print(
        f"{len(killed)} hosts killed, nothing left; "
        f"programs running then: {min(running)} to {max(running)}, {sum(running)} in all; "
        f"gone after {statistics.median(seconds):.2f} s (median), {max(seconds):.2f} s (longest)"
    )


def kill_a_host(moment: float) -> Killed:
    """Raises AssertionError, with their numbers, when something is left."""
    told, tell = os.pipe()
    host = os.fork()
    if host == 0:
        os.close(told)
        be_a_host(tell)
    os.close(tell)
    with open(told, "rb") as lines:
        token, its_guard = lines.readline().split()
    time.sleep(moment)  # not to wait for anything: to kill it at any moment
    running = sweep.carriers(tokens.of_host(token))
    os.kill(host, signal.SIGKILL)
    os.waitpid(host, 0)
    seconds = gone([int(its_guard)], LIMIT)
    left = sweep.carriers(tokens.of_host(token))
    assert not left, f"left after a kill at {moment:.3f} s: {left}"
    return Killed(len(running), seconds)


def be_a_host(tell: int) -> NoReturn:
    try:
        random.seed()
        anyio.run(_live, tell, backend=random.choice(["asyncio", "trio"]))
    finally:
        os._exit(1)  # never back into the loop of its parent


async def _live(tell: int) -> None:
    guard.prepare()
    os.write(tell, f"{tokens.host_token()} {guard_pid()}\n".encode())
    async with anyio.create_task_group() as tasks:
        for steps in BEHAVIOURS:
            tasks.start_soon(_keep, steps)


async def _keep(steps: tuple[str, ...]) -> None:
    """Start it and stop it, over and over."""
    tunnel = Programs(program(*steps)).tunnel(grace=0.05, connect_timeout=0.3, reconnect=FOR_EVER)
    async with tunnel:
        while True:
            with anyio.move_on_after(random.uniform(0, 0.5)), suppress(TunnelError):
                await tunnel.start()
                await anyio.sleep_forever()
            await tunnel.stop()


if __name__ == "__main__":
    if sys.platform != "linux":
        raise SystemExit("what a killed host leaves is looked for in /proc, which only Linux has")
    main()
