"""From the provider's word that the tunnel is ready to `start()` having returned."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures.first_tunnel import OPEN
from benchmarks.harness.bench import Bench
from benchmarks.harness.model import Figure, Mark
from benchmarks.harness.sampling import row
from benchmarks.harness.tunnels import tunnel

READY = "Registered tunnel connection"
EDGE = 0.4  # seconds between the URL and the edge, for who returns at the URL


def measure(bench: Bench) -> Figure:
    figure = Figure("ready", "From the provider being ready to `start()` having returned")
    found = bench.work(__name__, bench.programs.cloudflared, bench.rounds(15, 200))
    figure.rows += [
        row("prx-tunnel: start()", "ours", "µs", found["ours"], scale=1e6),
        row("asyncio subprocess, readline", "floor", "µs", found["raw"], scale=1e6),
    ]
    ours, raw = (each.median for each in figure.rows)
    early = sum(seconds < 0 for seconds in found["ours"])
    figure.marks += [
        Mark("added time, times the raw reader's own", max(ours - raw, 0) / raw, "<=", 20),
        Mark("returned before the edge was registered", early / len(found["ours"]), "<=", 0),
    ]
    for peer in bench.peers("pyngrok", "pycloudflared", "flaredantic"):
        figure.notes.append(f"{peer} returns {_when(_peer(bench, peer))}")
    return figure


def _peer(bench: Bench, peer: str) -> float:
    """Seconds from the registration to its return; negative when it returns before."""
    registered = bench.folder / f"{peer}-registered"
    program = bench.programs.cloudflared
    arguments = [program]
    if peer == "pyngrok":
        settings = bench.folder / "ngrok.yml"
        settings.write_text('version: "2"\nauthtoken: none\n', encoding="utf-8")
        arguments = [bench.programs.ngrok, str(settings)]
    env = {"STANDIN_DELAY": str(EDGE), "STANDIN_REGISTERED": str(registered)}
    # Stays until the edge would have been registered, or there would be nothing to compare with.
    code = OPEN[peer].replace("flush=True)", f"flush=True); time.sleep({EDGE + 0.2})")
    ran = bench.run(peer, "-c", code, *arguments, env=env)
    return (int(ran.output.split()[-1]) - int(registered.read_text())) / 1e9


def _when(seconds: float) -> str:
    if seconds < 0:
        return f"before the edge is registered ({-seconds * 1e3:.0f} ms, of {EDGE * 1e3:.0f})"
    return f"after the edge is registered ({seconds * 1e3:.1f} ms)"


async def work(program: str, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"ours": [], "raw": []}
    with tempfile.TemporaryDirectory() as folder:
        registered = Path(folder) / "registered"
        # Long enough that whoever waits does wait.
        env = {"STANDIN_REGISTERED": str(registered), "STANDIN_DELAY": "0.01"}
        for _ in range(rounds):
            found["ours"].append(_since(registered, await _ours(program, env)))
            found["raw"].append(_since(registered, await _raw(program, env)))
    return found


def _since(registered: Path, now: int) -> float:
    seconds = (now - int(registered.read_text())) / 1e9
    registered.unlink()
    return seconds


async def _ours(program: str, env: dict[str, str]) -> int:
    async with tunnel(program, custom={"env": env, "ready_pattern": READY}) as kept:
        await kept.start()
        return time.monotonic_ns()


async def _raw(program: str, env: dict[str, str]) -> int:
    process = await asyncio.create_subprocess_exec(
        program, stderr=asyncio.subprocess.PIPE, env={**os.environ, **env}
    )
    assert process.stderr is not None
    while READY.encode() not in await process.stderr.readline():
        pass
    now = time.monotonic_ns()
    process.kill()
    await process.wait()
    return now


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(sys.argv[1], int(sys.argv[2])))))
