"""From a cold interpreter to the first tunnel: `start()` has returned."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from benchmarks.harness.bench import Bench
from benchmarks.harness.environments import OURS
from benchmarks.harness.model import Figure, Mark, Role
from benchmarks.harness.sampling import interleaved, row

# Each opens a tunnel with the stand-in of sys.argv[1], and prints when it has one.
OPEN_OURS = """
import sys, time, anyio
from prx_tunnel_core import Tunnel
program = sys.argv[1]
ready = {"url_pattern": sys.argv[2]}
table = {"backend": "custom", "local_port": 3000, "custom": {"command": [program], **ready}}
async def main():
    async with Tunnel(table) as tunnel:
        await tunnel.start()
        print(time.monotonic_ns(), flush=True)
anyio.run(main)
"""
OPEN = {
    "pyngrok": """
import sys, time
from pyngrok import conf, ngrok
ours = conf.PyngrokConfig(ngrok_path=sys.argv[1], config_path=sys.argv[2], monitor_thread=False)
ngrok.connect("3000", pyngrok_config=ours)
print(time.monotonic_ns(), flush=True)
ngrok.kill(ours)
""",
    "pycloudflared": """
import sys, time
import pycloudflared
module = sys.modules["pycloudflared.try_cloudflare"]
module.get_info = lambda: type("Info", (), {"executable": sys.argv[1]})
module.try_cloudflare(3000, verbose=False)
print(time.monotonic_ns(), flush=True)
module.try_cloudflare.running[3000].process.terminate()
""",
    "flaredantic": """
import pathlib, sys, time
from flaredantic import FlareConfig, FlareTunnel
tunnel = FlareTunnel(FlareConfig(port=3000, bin_dir=pathlib.Path(sys.argv[1]).parent))
tunnel.start()
print(time.monotonic_ns(), flush=True)
tunnel.stop()
""",
}
# Nothing but what any supervisor on this stack loads, and a program that says one line.
FLOOR = """
import subprocess, sys, time, asyncio, anyio, pydantic
class Settings(pydantic.BaseModel):
    command: list[str]
async def main():
    program = await anyio.open_process(Settings(command=sys.argv[1:2]).command)
    await program.stderr.receive()
    print(time.monotonic_ns(), flush=True)
    program.kill()
    await program.aclose()
anyio.run(main)
"""
SPAWN = """
import subprocess, sys, time
program = subprocess.Popen(sys.argv[1:2], stderr=subprocess.PIPE)
program.stderr.readline()
print(time.monotonic_ns(), flush=True)
program.kill()
program.wait()
"""


def opening(
    bench: Bench, who: str, code: str, *arguments: str, env: Mapping[str, str] | None = None
) -> float:
    """Seconds from the start of the process to what it prints."""
    ran = bench.run(who, "-c", code, *arguments, env=env)
    return (int(ran.output.split()[-1]) - ran.started) / 1e9


def measure(bench: Bench) -> Figure:
    figure = Figure("first-tunnel", "From a cold interpreter to the first open tunnel")
    ngrok, cloudflared = bench.programs.ngrok, bench.programs.cloudflared
    settings = bench.folder / "ngrok.yml"
    settings.write_text('version: "2"\nauthtoken: none\n', encoding="utf-8")
    subjects: dict[str, tuple[str, ...]] = {
        "prx-tunnel, ngrok": (OURS, OPEN_OURS, ngrok, "ngrok-free.app"),
        "prx-tunnel, cloudflared": (OURS, OPEN_OURS, cloudflared, "trycloudflare.com"),
        "bare Popen and readline": (OURS, SPAWN, cloudflared),
        "anyio, pydantic and a line": (OURS, FLOOR, cloudflared),
    }
    for peer in bench.peers(*OPEN):
        program = (ngrok, str(settings)) if peer == "pyngrok" else (cloudflared,)
        subjects[peer] = (peer, OPEN[peer], *program)
    samples = {name: partial(opening, bench, *subject) for name, subject in subjects.items()}
    found = interleaved(samples, bench.rounds(3, 25))
    figure.rows += [row(name, _role(name), "ms", found[name], scale=1e3) for name in subjects]
    _judge(figure)
    return figure


def _role(name: str) -> Role:
    if name.startswith("prx-tunnel"):
        return "ours"
    return "peer" if name in OPEN else "floor"


def _judge(figure: Figure) -> None:
    median = {row.who: row.median for row in figure.rows}
    floor = median["anyio, pydantic and a line"]
    for peer, program in (("pyngrok", "ngrok"), ("pycloudflared", "cloudflared")):
        if peer in median:
            reason = (
                f"an interpreter that loads asyncio, anyio and pydantic and reads one line of the "
                f"same program takes {floor / median[peer]:.2f} of {peer}'s time"
            )
            ratio = median[f"prx-tunnel, {program}"] / median[peer]
            figure.marks.append(
                Mark(
                    f"the same program, as a part of {peer}'s",
                    ratio,
                    "<=",
                    1,
                    reason,
                    floor / median[peer],
                )
            )
