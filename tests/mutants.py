"""Do the tests notice a small change? Make random ones, each in a copy, and look.

    uv run python tests/mutants.py --seed 1 --number 40

Each mutant meets

1. the default tests of the files that are closest to it: they import the module, are named after it
   or its folder, or speak of the function or the list that was changed,
2. the other default tests of the same subject,
3. the heavy tests of the closest files,
4. with `--rest`, all other tests of the default run.

It is killed by the first test that fails, when that fails again and not without the mutant. Prints
what has killed each, then the survivors; exits with 1 when fewer than 90 % were killed.

The same seed makes the same mutants of the same source only. What a survivor can mean:

- A test is missing. Most often of a *list* of which some entries are tried: write a test that walks
  all of it, from a source other than the list; or of a *bound* that is only met from one side, or
  that is compared with itself: write its seconds out, in virtual time where they are many.
- The change is none: a speed-up is left out (`leave_no_core()`), a counter of which only the growth
  counts grows by two, a time in the past is another one, a keyword is a library's default, the
  library accepts what we translate for it (`ws` for `http`), asyncio tells of no task that was
  cancelled, or a second check stands behind the first (`argparse` answers `--help` before a
  suggestion for it could be made).
- It changes what a failing test of a plugin's author says, in `prx_tunnel_core.testing`.
- It is about something that no test can see in reasonable time: seconds that only a hanging kernel
  or a slow disk would take.
- The test that notices it is in another place: `--rest` finds it.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from support.mutators import Mutant, sample

ROOT = Path(__file__).parents[1]
WORKERS = 2
TARGET = 0.9
CLOSEST = 8  # files in the first step
MANY = 12  # files that have a name such as `write` or `run` in them are not about it
LONG_WORD, OFTEN = 6, 8  # letters of a module's name, and times that a file has it, to be about it
# Seconds for each step. A test that hangs fails much sooner, by pytest-timeout.
FIRST, SUBJECT, HEAVY, REST = 300.0, 600.0, 300.0, 1800.0
KILLED_BY = re.compile(r"^(?:FAILED|ERROR) ((?:tests|plugins)/.*)$", re.MULTILINE)
FAILED = ("-m", "heavy or not heavy", "--last-failed", "--last-failed-no-failures", "none")


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

    def killer(self, *arguments: str, limit: float) -> str:
        """The test that fails, or why they could not go on; empty when all pass."""
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                [".venv/bin/python", "-m", "pytest", "-q", "-x", "-n", "0", *arguments],
                cwd=self.folder,
                env=_environment(),
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
            return _failure(code, output.read())


def _environment() -> dict[str, str]:
    """Without the environment in which this script runs."""
    ours = {"VIRTUAL_ENV", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--number", type=int, default=40)
    parser.add_argument("--rest", action="store_true", help="survivors meet all default tests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="prx-mutants-") as folder:
        trees = queue.SimpleQueue[Tree]()
        for number in range(WORKERS):
            tree = Tree(Path(folder) / str(number))
            trees.put(tree)
        if failed := tree.killer("-m", "heavy or not heavy", "--collect-only", limit=FIRST):
            raise SystemExit(f"the tests fail without any mutant: {failed}")
        plugins = sorted(tree.folder.glob("plugins/*/prx_*"))
        folders = [
            "prx_tunnel_core",
            *(path.relative_to(tree.folder).as_posix() for path in plugins),
        ]
        mutants = sample(tree.folder, folders, options.seed, options.number)
        places = [f"{each.module}:{each.line}  {each.described(tree.folder)}" for each in mutants]

        def survives(mutant: Mutant, place: str) -> bool:
            tree = trees.get()
            try:
                by = outcome_of(tree, mutant, rest=options.rest)
            finally:
                trees.put(tree)
            print(f"{place}\n    {f'killed by {by}' if by else 'SURVIVED'}", flush=True)
            return not by

        with ThreadPoolExecutor(WORKERS) as pool:
            verdicts = list(pool.map(survives, mutants, places))
    survived = [place for place, verdict in zip(places, verdicts, strict=True) if verdict]
    killed = len(mutants) - len(survived)
    print(f"\n{killed} of {len(mutants)} killed with seed {options.seed}; survivors:")
    print(*survived, sep="\n")
    raise SystemExit(killed < TARGET * len(mutants))


def outcome_of(tree: Tree, mutant: Mutant, *, rest: bool) -> str:
    """What has killed it; empty when it survives."""
    right, wrong = mutant.source(tree.folder, changed=False), mutant.source(tree.folder)
    closest = closest_to(mutant, tree.folder)
    subject = subject_of(mutant, tree.folder)
    tried, near = closest[:CLOSEST], closest[: 2 * CLOSEST]
    others = [path for path in dict.fromkeys([*subject, *near]) if path not in tried]
    steps = [
        (["-m", "not heavy", *tried], FIRST) if tried else None,
        (["-m", "not heavy", *others], SUBJECT) if others else None,
        (["-m", "heavy", *tried], HEAVY) if tried else None,
        (["-m", "not heavy"], REST) if rest else None,
    ]
    for arguments, limit in filter(None, steps):
        tree.write(mutant, wrong)
        by = tree.killer("--cache-clear", *arguments, limit=limit)
        # On a busy machine, a test may fail by itself: it has to fail again, and not without it.
        file = [by.partition("::")[0]] if "::" in by else []
        again = bool(by) and bool(tree.killer(*FAILED, *file, limit=limit))
        tree.write(mutant, right)
        if again and not tree.killer(*FAILED, *file, limit=limit):
            return by
    return ""


def _failure(code: int, output: str) -> str:
    if code in (0, 5):
        return ""
    if code == -1:
        return "a time-out"
    failed = KILLED_BY.findall(output)
    return failed[0] if failed else f"exit code {code}: {output[-200:]!r}"


def closest_to(mutant: Mutant, root: Path = ROOT) -> list[str]:
    """The files of tests that speak of the place, the closest first."""
    module = mutant.module.removesuffix("/__init__.py").removesuffix(".py")
    module = re.sub(r"^plugins/[a-z]+/", "", module).replace("/", ".")
    package, _, stem = module.rpartition(".")
    imported = re.compile(
        rf"\b{re.escape(module)}\b|from {re.escape(package)} import (?:\(\s*)?(?:\w+,\s*)*{stem}\b"
    )
    word = stem.strip("_").removesuffix("s")
    texts = {path: (root / path).read_text() for path in tests_of(mutant, root)}
    name = re.compile(rf"\b{re.escape(mutant.inside(root) or module)}\b")
    named = {path for path, text in texts.items() if name.search(text)}
    if len(named) > MANY:
        named.clear()
    found = []
    for path, text in texts.items():
        score = 2 * bool(imported.search(text)) + 2 * (stem.strip("_") in Path(path).stem)
        score += len(word) >= LONG_WORD and text.count(word) > OFTEN
        score += 3 * (path in named)
        score += sum(folder.strip("_") in path for folder in package.split(".")[1:])
        if score:
            found.append((-score, len(text), path))
    return [path for *_, path in sorted(found)]


def tests_of(mutant: Mutant, root: Path) -> list[str]:
    """All files of tests of the plugin, or of core."""
    parts = Path(mutant.module).parts
    place = root / "plugins" / parts[1] if parts[0] == "plugins" else root
    return [each.relative_to(root).as_posix() for each in (place / "tests").rglob("test_*.py")]


def subject_of(mutant: Mutant, root: Path = ROOT) -> list[str]:
    """The tests of a plugin, or those of core whose file or folder is named after the package.

    The snapshot of the public API is about every module of core.
    """
    parts = Path(mutant.module).parts
    if parts[0] == "plugins":
        return tests_of(mutant, root)
    name = Path(parts[1]).stem.strip("_")
    named = (f"/{name}/", f"/test_{name}", "/test_public_api.")
    return [path for path in tests_of(mutant, root) if any(each in path for each in named)]


if __name__ == "__main__":
    main()
