"""Do the tests notice a small change? Make random ones, each in a copy, and look.

    uv run python tests/mutants.py --seed 1 --number 40

The first run, or `--record`, records which test runs which line (`.mutants/`, some minutes). Then
each mutant meets

1. the tests that run its line (for a line that runs at import: that run any of the module),
2. the other tests of the same subject, heavy ones too: for programs that tests start, and what runs
   in them, are not seen by the recording,
3. with `--rest`, all other tests of the default run.

It is killed by the first test that fails, or when the tests take longer than they may. Prints what
has killed each mutant, then the survivors; exits with 1 when fewer than 90 % were killed.

What a survivor can mean:

- A test is missing. Most often of a *list* of which some entries are tried: write a test that walks
  all of it, from a source other than the list; or of a *bound* that is only met from one side.
- The change is none: a speed-up is left out (`leave_no_core()`), a default is the library's own, or
  a second check stands behind the first.
- It is about something that no test can see in reasonable time: seconds that only a hanging kernel
  or a slow disk would take.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from support.mutators import Mutant, sample

ROOT = Path(__file__).parents[1]
MAP = ROOT / ".mutants"
WORKERS = 2
TARGET = 0.9
RELATED = 60.0  # seconds, as recorded, of tests in the first step
SUBJECT = 400.0  # seconds for the second step
REST = 900.0
SLACK = 60.0  # seconds more than recorded that the first step may take
# A module's subject, where the folder of its tests has another name.
SUBJECTS = {
    "prx_tunnel_core/_cli": "cli",
    "prx_tunnel_core/process": "process",
    "prx_tunnel_core/testing": "testing",
    "prx_tunnel_core/_control": "control",
    "prx_tunnel_core/_doctor": "doctor",
    "prx_tunnel_core/_health": "health",
    "prx_tunnel_core/_plugins": "plugins",
    "prx_tunnel_core/_supervisor": "supervisor",
}
KILLED_BY = re.compile(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", re.MULTILINE)


@dataclass
class Recording:
    """Which test runs which lines, and for how long."""

    seconds: dict[str, float]
    lines: dict[str, dict[int, list[str]]]

    def related(self, mutant: Mutant) -> list[str]:
        """The quickest of those that run the place, a few of each file first."""
        by_line = self.lines.get(mutant.module, {})
        if mutant.at_import:
            found = {test for tests in by_line.values() for test in tests}
        else:  # of an expression of many lines, not each is recorded
            near = (by_line.get(mutant.line - back) for back in range(12))
            found = set(next((tests for tests in near if tests), ()))
        stem = Path(mutant.module).stem.strip("_")
        ordered = sorted(found, key=lambda test: (stem not in test, self.seconds.get(test, 1.0)))
        chosen, total, met = list[str](), 0.0, dict[str, int]()
        for most in (10, len(ordered)):
            for test in ordered:
                file = test.partition("::")[0]
                if test in chosen or met.get(file, 0) >= most:
                    continue
                if total + self.seconds.get(test, 1.0) <= RELATED and len(chosen) < 1500:
                    met[file] = met.get(file, 0) + 1
                    total += self.seconds.get(test, 1.0)
                    chosen.append(test)
        return chosen


class Tree:
    """A copy of the repository with an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
            if name and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        run = ["uv", "sync", "--quiet", "--project", str(folder)]
        subprocess.run(run, check=True, cwd=folder, env=_environment())

    def write(self, mutant: Mutant, source: str) -> None:
        path = self.folder / mutant.module
        path.write_text(source)
        # A compiled file is told from an old one by seconds and size alone.
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()

    def run(self, *arguments: str, limit: float, **environ: str) -> tuple[int, str]:
        """The exit code and the output of pytest; the code is -1 when it took too long."""
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                [
                    ".venv/bin/python",
                    "-m",
                    "pytest",
                    "-q",
                    "-p",
                    "support.mutant_tests",
                    *arguments,
                ],
                cwd=self.folder,
                env={**_environment(), "PYTHONPATH": str(self.folder / "tests"), **environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = -1
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            output.seek(0)
            return code, output.read()


def _environment() -> dict[str, str]:
    """Without the environment in which this script runs."""
    ours = {"VIRTUAL_ENV", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--number", type=int, default=40)
    parser.add_argument("--record", action="store_true", help="which test runs which line, anew")
    parser.add_argument("--rest", action="store_true", help="survivors meet all default tests")
    options = parser.parse_args()
    plugins = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("plugins/*/prx_*"))
    mutants = sample(ROOT, ["prx_tunnel_core", *plugins], options.seed, options.number)
    with tempfile.TemporaryDirectory(prefix="prx-mutants-") as folder:
        trees = queue.SimpleQueue[Tree]()
        for number in range(WORKERS):
            trees.put(Tree(Path(folder) / str(number)))
        if options.record or not (MAP / "map.json").exists():
            tree = trees.get()
            record(tree)
            trees.put(tree)
        recording = read_recording()

        def outcome(mutant: Mutant) -> str:
            tree = trees.get()
            try:
                return outcome_of(tree, mutant, recording, rest=options.rest)
            finally:
                trees.put(tree)

        survived = []
        with ThreadPoolExecutor(WORKERS) as pool:
            for mutant, by in zip(mutants, pool.map(outcome, mutants), strict=True):
                place = f"{mutant.module}:{mutant.line}  {mutant.described(ROOT)}"
                print(f"{place}\n    {f'killed by {by}' if by else 'SURVIVED'}", flush=True)
                if not by:
                    survived.append(place)
    killed = len(mutants) - len(survived)
    print(
        f"\n{killed} of {len(mutants)} killed with seed {options.seed}; survivors:",
        *survived,
        sep="\n",
    )
    raise SystemExit(killed < TARGET * len(mutants))


def outcome_of(tree: Tree, mutant: Mutant, recording: Recording, *, rest: bool) -> str:
    """What has killed it; empty when it survives."""
    right = (tree.folder / mutant.module).read_text()
    tree.write(mutant, mutant.source(ROOT))
    try:
        related = recording.related(mutant)
        if related and (by := killer(tree, related, recording)):
            return by
        steps = [(subject_of(mutant), ["-m", "heavy or not heavy"], SUBJECT)]
        steps += [([], [], REST)] if rest else []
        for paths, options, limit in steps:
            code, output = tree.run("-x", "-n", "0", *options, *paths, limit=limit)
            if by := _failure(code, output):
                return by
        return ""
    finally:
        tree.write(mutant, right)


def killer(tree: Tree, tests: list[str], recording: Recording) -> str:
    choice = tree.folder / "choice.txt"
    choice.write_text("\n".join(tests))
    files = sorted({test.partition("::")[0] for test in tests})
    limit = SLACK + 2 * sum(recording.seconds.get(test, 1.0) for test in tests)
    code, output = tree.run("-x", "-n", "0", *files, limit=limit, PRX_MUTANTS_CHOICE=str(choice))
    return _failure(code, output)


def _failure(code: int, output: str) -> str:
    if code in (0, 5):
        return ""
    if code == -1:
        return "a time-out"
    failed = KILLED_BY.findall(output)
    return failed[0] if failed else f"exit code {code}: {output[-200:]!r}"


def subject_of(mutant: Mutant) -> list[str]:
    """The tests of a plugin, or those of core whose file or folder is named after the module."""
    parts = Path(mutant.module).parts
    if parts[0] == "plugins":
        return [f"plugins/{parts[1]}/tests"]
    name = next(
        (name for folder, name in SUBJECTS.items() if mutant.module.startswith(folder)),
        Path(mutant.module).stem.strip("_"),
    )
    found = [path for path in (ROOT / "tests").rglob("test_*.py") if name in path.stem]
    found += [path for path in (ROOT / "tests").glob(f"{name}/test_*.py") if path not in found]
    return [path.relative_to(ROOT).as_posix() for path in sorted(found)] or ["tests/faults"]


def record(tree: Tree) -> None:
    shutil.rmtree(MAP, ignore_errors=True)
    MAP.mkdir()
    code, output = tree.run(
        "-n",
        "2",
        "-m",
        "heavy or not heavy",
        "--timeout",
        "180",
        limit=3600,
        PRX_MUTANTS_MAP=str(MAP),
    )
    print(output[-2000:])
    if code not in (0, 1):
        raise SystemExit(f"nothing was recorded: exit code {code}")
    seconds: dict[str, float] = {}
    for path in MAP.glob("*.json"):
        seconds |= json.loads(path.read_text())
    lines: dict[str, dict[str, list[str]]] = {}
    command = ["uv", "run", "--no-sync", "python", "-c", COMBINE, str(MAP), str(tree.folder)]
    subprocess.run(command, check=True, cwd=tree.folder, env=_environment())
    lines = json.loads((MAP / "lines.json").read_text())
    (MAP / "map.json").write_text(json.dumps({"seconds": seconds, "lines": lines}))


COMBINE = """
import json, pathlib, sys
from coverage import CoverageData
folder, root = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
lines = {}
for path in folder.glob("*.coverage"):
    data = CoverageData(str(path))
    data.read()
    for file in data.measured_files():
        module = lines.setdefault(str(pathlib.Path(file).relative_to(root)), {})
        for line, tests in data.contexts_by_lineno(file).items():
            module.setdefault(line, []).extend(filter(None, tests))
(folder / "lines.json").write_text(json.dumps(lines))
"""


def read_recording() -> Recording:
    read = json.loads((MAP / "map.json").read_text())
    lines = {
        module: {int(line): tests for line, tests in found.items()}
        for module, found in read["lines"].items()
    }
    return Recording(read["seconds"], lines)


if __name__ == "__main__":
    main()
