"""Start-up with twenty plugins installed and one selected, against one installed."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures.first_tunnel import OPEN_OURS, opening
from benchmarks.harness.bench import Bench
from benchmarks.harness.environments import OURS
from benchmarks.harness.model import Figure, Mark
from benchmarks.harness.sampling import interleaved, row

MORE = 19
# What a backend's plugin is made of; importing it would be felt.
MODULE = """
import asyncio, pydantic, urllib.request, xml.dom.minidom, sqlite3
raise SystemExit("a plugin that nobody selected was imported")
"""


def measure(bench: Bench) -> Figure:
    figure = Figure("plugins", "Start-up with twenty plugins installed, one selected")
    alone, crowded = bench.folder / "alone", bench.folder / "crowded"
    alone.mkdir()
    crowded.mkdir()
    for number in range(MORE):
        _install(crowded, f"bench{number}")
    program = (bench.programs.patient, "trycloudflare.com")

    def start(folder: Path) -> float:
        return opening(bench, OURS, OPEN_OURS, *program, env={"PYTHONPATH": str(folder)})

    found = interleaved(
        {"one installed": lambda: start(alone), "twenty installed": lambda: start(crowded)},
        bench.rounds(4, 40),
    )
    figure.rows += [row(name, "ours", "ms", values, scale=1e3) for name, values in found.items()]
    ratio = figure.rows[1].median / figure.rows[0].median
    figure.marks.append(Mark("twenty over one", ratio, "<=", 1.1))
    return figure


def _install(folder: Path, name: str) -> None:
    """As an installer leaves it: the metadata, and the module."""
    info = folder / f"prx_tunnel_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: prx-tunnel-{name}\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(f"[prx_tunnel]\n{name} = prx_tunnel_{name}\n")
    (folder / f"prx_tunnel_{name}.py").write_text(MODULE)
