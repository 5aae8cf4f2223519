"""A program that writes without end: how fast it may, and what that costs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.figures.first_tunnel import OPEN
from benchmarks.harness.bench import Bench
from benchmarks.harness.model import Figure, Mark
from benchmarks.harness.sampling import row
from benchmarks.harness.tunnels import tunnel

READY = "Registered tunnel connection"
SMALL = 16  # megabytes for a peer, of which some take a second for ten
GIVEN = 1.0  # seconds for a peer
BOUND = 32.0  # MiB that the process may grow by, whatever is written


def measure(bench: Bench) -> Figure:
    megabytes = bench.rounds(128, 1024)
    title = "A program that floods its output"
    figure = Figure("flood", title, notes=[f"{megabytes} MiB of lines for us and the floor"])
    found = bench.work(__name__, bench.programs.cloudflared, megabytes, bench.rounds(2, 5))
    figure.rows += [
        row("prx-tunnel", "ours", "MiB/s", found["ours"]),
        row("a reader that discards", "floor", "MiB/s", found["discard"]),
    ]
    for peer in bench.peers("pyngrok", "pycloudflared", "flaredantic"):
        speed, remark = _peer(bench, peer)
        figure.rows.append(row(peer, "peer", "MiB/s", [speed], remark=remark))
    figure.rows.append(row("prx-tunnel: growth of memory", "ours", "MiB", [found["growth"]]))
    ours, discard = figure.rows[0].median, figure.rows[1].median
    figure.marks += [
        Mark("throughput, of a reader that discards", ours / discard, ">=", 0.4),
        Mark("growth of memory, of its bound", found["growth"] / BOUND, "<=", 1),
    ]
    return figure


def _peer(bench: Bench, peer: str) -> tuple[float, str]:
    written = bench.folder / f"{peer}-written"
    env = {"STANDIN_FLOOD": str(SMALL), "STANDIN_WRITTEN": str(written)}
    arguments = [bench.programs.cloudflared]
    code = OPEN[peer].replace("monitor_thread=False", "monitor_thread=True")
    if peer == "pyngrok":
        settings = bench.folder / "ngrok.yml"
        settings.write_text('version: "2"\nauthtoken: none\n', encoding="utf-8")
        arguments = [bench.programs.ngrok, str(settings)]
    code = code.replace("flush=True)", f"flush=True); time.sleep({GIVEN})")
    bench.run(peer, "-c", code, *arguments, env=env)
    size, begun, ended = _note(written)
    if ended:
        return size / 2**20 / ((ended - begun) / 1e9), ""
    if size < 2**20:
        return 0.0, f"the program is frozen after {size >> 10} KiB: nobody reads"
    return size / 2**20 / GIVEN, f"{size >> 20} MiB in the {GIVEN:g} s it was given"


def _note(written: Path) -> tuple[int, int, int]:
    text = written.read_text() if written.exists() else ""
    size, begun, ended = map(int, text.split() or (0, 0, 0))
    return size, begun, ended


async def work(program: str, megabytes: int, rounds: int) -> dict[str, object]:
    found: dict[str, list[float]] = {"ours": [], "discard": []}
    growth = 0
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "written"
        env = {"STANDIN_FLOOD": str(megabytes), "STANDIN_WRITTEN": str(written)}
        for number in range(rounds):
            before = _resident()
            await _ours(program, env, written)
            growth = max(growth, _resident() - before) if number else 0
            found["ours"].append(megabytes / _seconds(written))
            await asyncio.to_thread(_discard, program, env)
            found["discard"].append(megabytes / _seconds(written))
    return {**found, "growth": growth / 2**20}


def _seconds(written: Path) -> float:
    _, begun, ended = _note(written)
    written.unlink()
    return (ended - begun) / 1e9


async def _ours(program: str, env: dict[str, str], written: Path) -> None:
    async with tunnel(program, custom={"env": env, "ready_pattern": READY}) as kept:
        await kept.start()
        while not _note(written)[2]:
            await asyncio.sleep(0.02)


def _discard(program: str, env: dict[str, str]) -> None:
    env = {**os.environ, **env, "STANDIN_LEAVES": "1"}
    with subprocess.Popen([program], stderr=subprocess.PIPE, env=env) as child:
        assert child.stderr is not None
        while os.read(child.stderr.fileno(), 65536):
            pass


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(sys.argv[1], *map(int, sys.argv[2:4])))))
