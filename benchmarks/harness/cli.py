"""The command: measure, print, judge."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.harness import environments, pages, sealed
from benchmarks.harness.bench import Bench
from benchmarks.harness.model import Figure, Run
from benchmarks.harness.table import figure_lines, show

FIGURES = (
    "imports",
    "first_tunnel",
    "ready",
    "loop_stall",
    "child_death",
    "status_command",
    "flood",
    "stopping",
    "many",
    "plugins",
    "ssh_data",
    "asgi",
    "first_webhook",
)
LENIENT = 3.0  # times worse than its mark; slower machines shift the ratios, too


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.page:
        pages.write(Run.from_json(json.loads(options.page.read_text(encoding="utf-8"))))
        return 0
    if not sealed.is_inside():
        environments.make_all()
        sealed.enter([str(environments.python(environments.OURS)), sys.argv[0], *arguments])
    if sealed.is_sealed():
        sealed.loopback_up()
    else:
        print("no network namespace here: the peers are left out", file=sys.stderr)
    run = measure(options.only or FIGURES, quick=options.quick)
    if options.json:
        options.json.write_text(json.dumps(run.to_json(), indent=1) + "\n", encoding="utf-8")
    print(show(run).splitlines()[-1])
    if options.lenient:
        return int(any(mark.excess_over_floor > LENIENT for mark in run.marks))
    return int(not all(mark.reached for mark in run.marks))


def measure(names: Sequence[str], *, quick: bool) -> Run:
    """Measure the figures one after the other, and print each as soon as it is known."""
    run = Run(_machine(), quick)
    for name in names:
        # A folder that nobody else can change, or our own programs would not be trusted.
        with tempfile.TemporaryDirectory(prefix="prx-bench-") as folder:
            bench = Bench(Path(folder), quick=quick, peers=sealed.is_sealed())
            begun = time.monotonic()
            figure: Figure = import_module(f"benchmarks.figures.{name}").measure(bench)
        run.figures.append(figure)
        print("\n".join(figure_lines(figure)), flush=True)
        print(f"{name}: {time.monotonic() - begun:.1f} s", file=sys.stderr)
    return run


def _machine() -> dict[str, str]:
    busy = os.getloadavg()[0]
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "load before": f"{busy:.1f}",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute; fewer rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--only", nargs="+", choices=FIGURES, metavar="FIGURE", help="not all")
    parser.add_argument(
        "--lenient",
        action="store_true",
        help=f"fail only where worse by a factor of {LENIENT:g} than the mark, or than its floor",
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write docs/performance.md from that JSON"
    )
    return parser
