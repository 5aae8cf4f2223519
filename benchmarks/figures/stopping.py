"""`stop()` of a program that cooperates, and of one that ignores TERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

from benchmarks.harness.bench import Bench
from benchmarks.harness.model import Figure, Mark
from benchmarks.harness.sampling import row
from benchmarks.harness.tunnels import tunnel

GRACE = 0.5


def measure(bench: Bench) -> Figure:
    figure = Figure("stopping", "Stop, of a program that cooperates and of one that ignores TERM")
    rounds, few = bench.rounds(20, 150), bench.rounds(2, 10)
    found = bench.work(__name__, bench.programs.patient, bench.programs.cloudflared, rounds, few)
    figure.rows += [
        row("prx-tunnel: stop()", "ours", "ms", found["ours"], scale=1e3),
        row("terminate and reap", "floor", "ms", found["floor"], scale=1e3),
        row("the same, asyncio", "floor", "ms", found["loop"], scale=1e3),
        row("one look at every process", "floor", "ms", found["look"], scale=1e3),
        row("prx-tunnel: ignores TERM", "ours", "ms", found["stubborn"], scale=1e3),
        row("its grace period", "floor", "ms", [GRACE], scale=1e3),
    ]
    ours, bare, loop, look, stubborn, grace = (each.median for each in figure.rows)
    floor = (loop + look) / bare
    reason = (
        f"to hear of the end in an event loop takes {loop / bare:.1f} times as long; what left the "
        "program's group is found by reading the environment of every process of the machine: "
        f"{look / bare:.1f} times as long"
    )
    figure.marks += [
        Mark("cooperative: times terminate and reap", ours / bare, "<=", 3, reason, floor),
        Mark("ignores TERM: times the grace period", stubborn / grace, "<=", 1.05),
    ]
    for peer in bench.peers("pycloudflared", "flaredantic"):
        figure.notes.append(f"{peer}, a program that ignores TERM: {_left(bench, peer)}")
    return figure


async def work(patient: str, stubborn: str, rounds: int, few: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {
        key: [] for key in ("ours", "floor", "loop", "look", "stubborn")
    }
    for _ in range(rounds):
        found["ours"].append(await _ours(patient))
        found["floor"].append(_floor(patient))
        found["loop"].append(await _floor_in_a_loop(patient))
        found["look"].append(_look())
    for _ in range(few):
        found["stubborn"].append(await _ours(stubborn, {"STANDIN_STUBBORN": "1"}))
    return found


async def _ours(program: str, env: dict[str, str] | None = None) -> float:
    custom = {"env": env or {}, "stop_grace": GRACE}
    if env:
        custom["ready_pattern"] = "Registered tunnel connection"
    async with tunnel(program, custom=custom) as kept:
        await kept.start()
        begun = time.perf_counter()
        await kept.stop()
        return time.perf_counter() - begun


def _floor(program: str) -> float:
    child = subprocess.Popen([program], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    child.stdout.readline()
    begun = time.perf_counter()
    child.terminate()
    child.wait()
    seconds = time.perf_counter() - begun
    child.stdout.close()
    return seconds


def _look() -> float:
    begun = time.perf_counter()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            file = os.open(f"/proc/{pid}/environ", os.O_RDONLY)
        except OSError:
            continue
        with contextlib.suppress(OSError):
            os.read(file, 32768)
        os.close(file)
    return time.perf_counter() - begun


async def _floor_in_a_loop(program: str) -> float:
    """The same by asyncio's own means: the loop has to hear of the end."""
    child = await asyncio.create_subprocess_exec(
        program, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None
    await child.stdout.readline()
    begun = time.perf_counter()
    child.terminate()
    await child.wait()
    return time.perf_counter() - begun


_PEERS = {
    "pycloudflared": """
import sys, time
import pycloudflared
module = sys.modules["pycloudflared.try_cloudflare"]
module.get_info = lambda: type("Info", (), {"executable": sys.argv[1]})
process = module.try_cloudflare(3000, verbose=False).process
stop = lambda: module.try_cloudflare.terminate(3000)
""",
    "flaredantic": """
import pathlib, sys, time
from flaredantic import FlareConfig, FlareTunnel
tunnel = FlareTunnel(FlareConfig(port=3000, bin_dir=pathlib.Path(sys.argv[1]).parent))
tunnel.start()
process, stop = tunnel.tunnel_process, tunnel.stop
""",
}
_LOOK = """
import os, threading
time.sleep(0.2)
stopping = threading.Thread(target=stop, daemon=True)
stopping.start()
stopping.join(2)
said = ["has not returned after 2 s" if stopping.is_alive() else "has returned"]
said.append("the program runs on" if process.poll() is None else "the program has ended")
print(process.pid, "; ".join(said), flush=True)
os._exit(0)
"""


def _left(bench: Bench, peer: str) -> str:
    stubborn = {"STANDIN_STUBBORN": "1"}
    ran = bench.run(peer, "-c", _PEERS[peer] + _LOOK, bench.programs.cloudflared, env=stubborn)
    pid, _, said = ran.output.strip().splitlines()[-1].partition(" ")
    os.kill(int(pid), signal.SIGKILL)
    return f"its stop {said}"


if __name__ == "__main__":
    numbers = map(int, sys.argv[3:5])
    print(json.dumps(asyncio.run(work(sys.argv[1], sys.argv[2], *numbers))))
