"""`prx tunnel status`, which prompts and scripts call: the whole process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness.bench import Bench
from benchmarks.harness.environments import OURS
from benchmarks.harness.model import Figure, Mark
from benchmarks.harness.sampling import interleaved, row


def measure(bench: Bench) -> Figure:
    figure = Figure("status-command", "`prx tunnel status`, from process start to exit")
    prx = str(Path(bench.interpreter(OURS)).with_name("prx"))

    def status() -> float:
        ran = bench.run_program([prx, "tunnel", "status"])
        if "trycloudflare.com" not in ran.output:
            raise RuntimeError(f"no tunnel runs: {ran.output}")
        return ran.seconds

    with _running(bench, prx):
        found = interleaved(
            {
                "prx tunnel status": status,
                "python -c pass": lambda: bench.run(OURS, "-c", "pass").seconds,
                "python -c 'import socket, json'": lambda: (
                    bench.run(OURS, "-c", "import socket, json").seconds
                ),
            },
            bench.rounds(10, 60),
        )
    for name, values in found.items():
        role = "ours" if name.startswith("prx") else "floor"
        figure.rows.append(row(name, role, "ms", values, scale=1e3))  # type: ignore[arg-type]
    ratio = figure.rows[0].median / figure.rows[1].median
    figure.marks.append(Mark("times a bare interpreter", ratio, "<=", 2.5))
    return figure


@contextmanager
def _running(bench: Bench, prx: str) -> Iterator[None]:
    config = bench.folder / "config.toml"
    config.write_text(
        f"[tunnel]\nbackend = 'custom'\nlocal_port = 3000\n[tunnel.custom]\n"
        f"command = ['{bench.programs.patient}']\nurl_pattern = 'trycloudflare.com'\n",
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [prx, "tunnel", "start", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        cwd=bench.folder,
        env=bench.environment({"PYTHONUNBUFFERED": "1"}),
    )
    with process:
        assert process.stdout is not None
        while line := process.stdout.readline():
            if b"onnected" in line and b"trycloudflare" in line:
                break
        try:
            yield
        finally:
            process.terminate()
