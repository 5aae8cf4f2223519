"""What `import` of the public package costs over a bare interpreter: time and memory."""

from __future__ import annotations

from benchmarks.harness.bench import Bench
from benchmarks.harness.environments import OURS
from benchmarks.harness.model import Figure, Mark
from benchmarks.harness.sampling import row

STATEMENTS = {
    "pyngrok": "from pyngrok import ngrok",
    "pycloudflared": "import pycloudflared",
    "flaredantic": "import flaredantic",
    "ngrok SDK": "import ngrok",
}
# What a host needs before it can open a tunnel, where the package itself loads as little as it can.
WHOLE = "from prx_tunnel_core import Tunnel"
# In the process itself: what its parent learns on Linux includes the parent's own size at the fork.
SIZE = "; print(next(line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line))"


def measure(bench: Bench) -> Figure:
    figure = Figure("imports", "Import of the public package, over bare Python")
    subjects = {"prx_tunnel_core": (OURS, "import prx_tunnel_core"), WHOLE: (OURS, WHOLE)}
    subjects |= {peer: (peer, STATEMENTS[peer]) for peer in bench.peers(*STATEMENTS)}
    times: dict[str, list[float]] = {name: [] for name in subjects}
    sizes: dict[str, list[float]] = {name: [] for name in subjects}
    bare: list[float] = []
    for number in range(bench.rounds(2, 30) + 1):
        for name, (environment, statement) in subjects.items():
            # Bare in the same environment: what lies in site-packages costs at every start.
            empty = bench.run(environment, "-c", "pass")
            full = bench.run(environment, "-c", statement)
            if number:
                bare.append(empty.seconds)
                times[name].append(full.seconds - empty.seconds)
                sizes[name].append(_size(bench, environment, statement))
                sizes[name][-1] -= _size(bench, environment, "pass")
    for name in subjects:
        role = "ours" if subjects[name][0] == OURS else "peer"
        figure.rows.append(row(name, role, "ms", times[name], scale=1e3))  # type: ignore[arg-type]
    figure.rows.append(row("python -c pass", "floor", "ms", bare, scale=1e3))
    for name in subjects:
        role = "ours" if subjects[name][0] == OURS else "peer"
        figure.rows.append(row(name, role, "MiB", sizes[name], scale=2**-10))  # type: ignore[arg-type]
    if "pyngrok" in subjects:
        _judge(figure)
    return figure


def _size(bench: Bench, environment: str, statement: str) -> float:
    """KiB of memory at its largest."""
    return int(bench.run(environment, "-c", statement + SIZE).output)


def _judge(figure: Figure) -> None:
    for unit, what in (("ms", "time"), ("MiB", "memory")):
        median = {row.who: row.median for row in figure.rows if row.unit == unit}
        ratio = max(median["prx_tunnel_core"], 0) / median["pyngrok"]
        figure.marks.append(Mark(f"{what}, as a part of pyngrok's", ratio, "<=", 0.7))
        whole = median[WHOLE] / median["pyngrok"]
        figure.notes.append(f"{what} with all that a tunnel needs: {whole:.2f} of pyngrok's import")
