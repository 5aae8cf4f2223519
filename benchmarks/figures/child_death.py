"""From the death of the program to the status that says so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

from benchmarks.harness.bench import Bench
from benchmarks.harness.model import Figure, Mark
from benchmarks.harness.sampling import row
from benchmarks.harness.tunnels import pid_of, tunnel

RECONNECT = {"max_attempts": 0, "backoff_base_ms": 1, "backoff_max_ms": 1}


def measure(bench: Bench) -> Figure:
    figure = Figure("child-death", "From a program's death to the status that says so")
    found = bench.work(__name__, bench.programs.patient, bench.rounds(30, 300))
    figure.rows += [
        row("prx-tunnel: status is Reconnecting", "ours", "µs", found["ours"], scale=1e6),
        row("pidfd alone, asyncio", "floor", "µs", found["pidfd"], scale=1e6),
    ]
    figure.marks.append(
        Mark("times a raw pidfd", figure.rows[0].median / figure.rows[1].median, "<=", 5)
    )
    figure.notes.append(
        "pyngrok, pycloudflared and flaredantic tell nobody: who polls the process finds out"
    )
    return figure


async def work(program: str, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"ours": [], "pidfd": []}
    async with tunnel(program, RECONNECT) as kept:
        await kept.start()
        changes = kept.watch()
        await anext(changes)  # the current status
        for _ in range(rounds):
            info = kept.info
            assert info is not None
            # What runs for the start is over before the clock does.
            await asyncio.sleep(0.02)
            died = time.perf_counter()
            os.kill(pid_of(info.public_url), signal.SIGKILL)
            await anext(changes)
            found["ours"].append(time.perf_counter() - died)
            while kept.info is None:
                await anext(changes)
            found["pidfd"].append(await _raw(program))
    return found


async def _raw(program: str) -> float:
    child = subprocess.Popen([program], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    child.stdout.readline()
    await asyncio.sleep(0.02)
    ended = asyncio.Event()
    fd = os.pidfd_open(child.pid)
    asyncio.get_running_loop().add_reader(fd, ended.set)
    died = time.perf_counter()
    child.kill()
    await ended.wait()
    seconds = time.perf_counter() - died
    asyncio.get_running_loop().remove_reader(fd)
    os.close(fd)
    child.wait()
    child.stdout.close()
    return seconds


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(sys.argv[1], int(sys.argv[2])))))
