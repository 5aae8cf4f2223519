"""Many supervised tunnels in one process: what each costs, and what happens when all die."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import threading
import time
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.harness.bench import Bench
from benchmarks.harness.lag import Lag
from benchmarks.harness.model import Figure, Mark
from benchmarks.harness.sampling import percentile, row
from benchmarks.harness.tunnels import pid_of, tunnel
from prx_tunnel_core import PluginRegistry, Tunnel

KIB = 1024
MANY = 100  # from here on it is told what happens when all die at once
JITTER = 2000  # milliseconds: the first delay lies between its half and this
TIMES_PER_TUNNEL = 2.0  # how much dearer one of many may be than one of ten, for linear growth


def measure(bench: Bench) -> Figure:
    title = "1, 10, 100, 1000 supervised tunnels in one process"
    figure = Figure("many", title)
    counts = [1, 10, 100] if bench.quick else [1, 10, 100, 1000]
    idle = 0.5 if bench.quick else 20.0
    found = [bench.work(__name__, bench.programs.patient, count, idle) for count in counts]
    for key, unit, what in (
        ("start", "ms", "to start, each"),
        ("stop", "ms", "to stop, each"),
        ("memory", "KiB", "memory, each"),
        ("descriptors", "descriptors", "open, each"),
        ("idle", "% of a core", "idle, all"),
    ):
        for count, values in zip(counts, found, strict=True):
            figure.rows.append(row(f"{count}: {what}", "ours", unit, [values[key]]))
    _judge(figure, counts, found)
    return figure


def _judge(figure: Figure, counts: list[int], found: list[dict[str, Any]]) -> None:
    largest, ten = found[-1], found[1]
    many = counts[-1]
    figure.marks += [
        Mark("memory each, of 64 KiB", largest["memory"] / 64, "<=", 1),
        Mark("descriptors each", largest["descriptors"], "<=", 3),
        Mark("threads each, beside the loop's pool", largest["threads"], "<=", 0),
        Mark(f"to start one of {many}, times one of 10", largest["start"] / ten["start"],
             "<=", TIMES_PER_TUNNEL),
        Mark(f"to stop one of {many}, times one of 10", largest["stop"] / ten["stop"],
             "<=", TIMES_PER_TUNNEL),
        Mark(f"% of a core, {many} idle", largest["idle"], "<=", 1.0),
        Mark(f"of {many} killed at once, came back", largest["back"] / many, ">=", 1),
    ]  # fmt: skip
    low, high, last = (largest[key] for key in ("back_low", "back_high", "last_back"))
    delay = f"{JITTER / 2000:g} to {JITTER / 1000:g} s"
    spread = f"the middle half of them between {low:.2f} and {high:.2f} s (the delay is {delay})"
    figure.notes += [
        f"a check without the public probe, every 30 s: {largest['check']:.2f} ms of CPU",
        f"{many} killed at once: all back after {last:.2f} s, {spread}",
        f"the loop's p99.9 meanwhile: {largest['lag']:.0f} ms",
    ]


async def work(program: str, count: int, idle: float) -> dict[str, float]:
    plugins = PluginRegistry()  # one for all, as a host of many has
    reconnect = {"max_attempts": 0, "backoff_base_ms": JITTER, "backoff_max_ms": JITTER}
    async with tunnel(program) as first:  # what is loaded once is loaded
        await first.start()
        await first.health_check()
    tunnels = [
        tunnel(program, reconnect, name=f"t{number}", plugins=plugins) for number in range(count)
    ]
    found: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        for each in tunnels:
            await stack.enter_async_context(each)
        before, begun = _use(), time.perf_counter()
        await _all([each.start() for each in tunnels])
        found["start"] = (time.perf_counter() - begun) * 1e3 / count
        after = _use()
        for key, now in after.items():
            found[key] = (now - before[key]) / count
        found["idle"] = await _idle(idle)
        found["check"] = await _checks(tunnels[: min(count, 200)])
        if count >= MANY:
            found |= await _all_die(tunnels)
        begun = time.perf_counter()
        await _all([each.stop() for each in tunnels])
        found["stop"] = (time.perf_counter() - begun) * 1e3 / count
    return found


async def _all(waits: list[Any]) -> None:
    await asyncio.gather(*waits)


def _use() -> dict[str, float]:
    gc.collect()
    with open("/proc/self/statm") as file:
        memory = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "memory": memory / KIB,
        "descriptors": len(os.listdir("/proc/self/fd")),
        # anyio's own pool is shared by all, is bounded, and shrinks again.
        "threads": sum("AnyIO" not in each.name for each in threading.enumerate()),
    }


async def _idle(seconds: float) -> float:
    """Percent of a core, before the first health check is due: what those cost is told apart."""
    await asyncio.sleep(0.2)
    cpu, begun = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    return 100 * (time.process_time() - cpu) / (time.perf_counter() - begun)


async def _checks(tunnels: list[Tunnel]) -> float:
    for each in tunnels:  # the first one of a tunnel makes what the others use
        await each.health_check()
    cpu = time.process_time()
    for each in tunnels:
        await each.health_check()
    return 1e3 * (time.process_time() - cpu) / len(tunnels)


async def _all_die(tunnels: list[Tunnel]) -> dict[str, float]:
    pids = [pid_of(each.info.public_url) for each in tunnels if each.info is not None]
    back: list[float] = []
    async with Lag() as lag:
        begun = time.perf_counter()
        waits = [_until_back(each, begun, back) for each in tunnels]
        watching = asyncio.gather(*waits)
        # In a thread: the loop shall not stand still for what the benchmark does.
        await asyncio.to_thread(_kill, pids)
        await asyncio.wait_for(watching, 100)
    return {
        "back": len(back),
        "last_back": max(back),
        "back_low": percentile(back, 25),
        "back_high": percentile(back, 75),
        "lag": percentile(lag.seconds, 99.9) * 1e3,
    }


def _kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


async def _until_back(each: Tunnel, begun: float, back: list[float]) -> None:
    changes = each.watch()
    await anext(changes)  # the current status
    await anext(changes)
    while each.info is None:
        await anext(changes)
    back.append(time.perf_counter() - begun)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
