"""How long the host's event loop stands still while a tunnel starts, stops, is checked, floods."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

from benchmarks.harness.bench import Bench
from benchmarks.harness.lag import Lag
from benchmarks.harness.model import Figure, Mark
from benchmarks.harness.sampling import percentile, row
from benchmarks.harness.tunnels import tunnel
from prx_tunnel_core import Tunnel

PHASES = ("idle", "start and stop", "probe", "flood")


def measure(bench: Bench) -> Figure:
    figure = Figure("loop-stall", "The event loop's worst delays (p99.9 of a 1 ms timer)")
    seconds, rounds = (0.4, 2) if bench.quick else (2.0, 7)
    programs = (bench.programs.patient, bench.programs.cloudflared)
    found = bench.work(__name__, *programs, bench.folder, seconds, rounds)
    for name, rows in found.items():
        role = "ours" if name in PHASES[1:] else "floor"
        figure.rows.append(row(name, role, "ms", rows, scale=1e3))  # type: ignore[arg-type]
    median = {each.who: each.median for each in figure.rows}
    bare = median["bare Popen"] / median["idle"]
    reasons = {"start and stop": f"a bare Popen in the loop alone: {bare:.1f}"}
    for name in PHASES[1:]:
        floor = "idle beside the flood" if name == "flood" else "idle"
        figure.marks.append(
            Mark(
                f"{name}: times {floor}",
                median[name] / median[floor],
                "<=",
                3,
                reasons.get(name, ""),
                bare if name in reasons else None,
            )
        )
    return figure


async def work(
    patient: str, flooding: str, folder: str, seconds: float, rounds: int
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    # What is public must not be the local port itself.
    public = await asyncio.start_server(_answer, "127.0.0.1", 0)
    local = await asyncio.start_server(_answer, "127.0.0.1", 0)
    port = local.sockets[0].getsockname()[1]
    url = f"http://localhost:{public.sockets[0].getsockname()[1]}/"
    fixed = {"url_pattern": None, "public_url": url, "ready_pattern": "trycloudflare"}
    flood = {"STANDIN_FLOOD": "100000", "STANDIN_WRITTEN": f"{folder}/written"}
    async with (
        tunnel(patient) as kept,
        tunnel(patient, custom=fixed, health_check_url=True, local_port=port) as probed,
        tunnel(flooding, custom={"env": flood}) as flooded,
    ):
        await kept.start()
        await probed.start()
        assert (await probed.health_check()).verdict == "healthy"
        phases: dict[str, Callable[[float], Awaitable[None]]] = {
            "idle": asyncio.sleep,
            "bare Popen": _repeat(lambda: _popen(patient)),
            "start and stop": _repeat(lambda: _again(kept)),
            "probe": _repeat(probed.health_check),
        }
        for _ in range(rounds):
            for name, phase in phases.items():
                found.setdefault(name, []).append(await _worst(phase, seconds))
            found.setdefault("idle beside the flood", []).append(
                await _beside(flooding, flood, seconds)
            )
            await flooded.start()
            found.setdefault("flood", []).append(await _worst(asyncio.sleep, seconds))
            await flooded.stop()
    public.close()
    local.close()
    return found


async def _worst(phase: Callable[[float], Awaitable[None]], seconds: float) -> float:
    async with Lag() as lag:
        await phase(seconds)
    return percentile(lag.seconds, 99.9)


def _repeat(once: Callable[[], Awaitable[object]]) -> Callable[[float], Awaitable[None]]:
    async def phase(seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            await once()
            await asyncio.sleep(0.01)

    return phase


async def _again(kept: Tunnel) -> None:
    await kept.stop()
    await kept.start()


async def _popen(program: str) -> None:
    child = subprocess.Popen([program], stdout=subprocess.PIPE, start_new_session=True)
    await asyncio.sleep(0.01)
    child.kill()
    child.communicate()


async def _beside(program: str, env: dict[str, str], seconds: float) -> float:
    """An idle loop on a machine on which the same flood goes to somebody else."""
    child = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", f"'{program}' 2>&1 | cat", stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, **env}, start_new_session=True,
    )  # fmt: skip
    try:
        return await _worst(asyncio.sleep, seconds)
    finally:
        os.killpg(child.pid, 9)
        await child.wait()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if await reader.readline():
        writer.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


if __name__ == "__main__":
    numbers = float(sys.argv[4]), int(sys.argv[5])
    print(json.dumps(asyncio.run(work(sys.argv[1], sys.argv[2], sys.argv[3], *numbers))))
