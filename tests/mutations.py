"""Does `test_state_machine.py` see what it is there for? Seed bugs for each invariant, and look.

    python tests/mutations.py

Each bug goes into a copy of the tree, where the test must fail, and must name the invariant that
the bug breaks. Prints what has caught each; exits with 1 when a bug was not caught so, when an
invariant has no bug, or when the copy without a bug does not pass.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.seeded_bugs import BUGS, Bug
from support.tunnel_model import Invariant

ROOT = Path(__file__).parents[1]
SCRIPTS = "300"
WORKERS = 2
LIMIT = 120.0  # seconds, many times of what the test takes; whoever needs them has caught nothing
REASON = re.compile(r"^E +(?:\| *)*(?:support\.tunnel_model\.Broken: )(.*)", re.MULTILINE)
# The same scripts each time; and what it took to find a bug is of no interest here.
PROFILE = """
from hypothesis import Phase, settings
phases = [Phase.explicit, Phase.generate]
options = {"derandomize": True, "report_multiple_bugs": False}  # else the shortest of them
settings.register_profile("mutations", phases=phases, **options)
settings.load_profile("mutations")
"""


def main() -> None:
    if without := set(Invariant) - {bug.breaks for bug in BUGS}:
        raise SystemExit(f"no bug is seeded for: {', '.join(sorted(without))}")
    for bug in BUGS:
        source = ROOT / "prx_tunnel_core" / bug.module
        bug.seeded(source.read_text(encoding="utf-8"))
    missed = 0
    with tempfile.TemporaryDirectory(prefix="prx-mutations-") as folder:
        if outcome := outcome_of(Path(folder) / "right", None):
            raise SystemExit(f"the test fails without any bug: {outcome}")
        copies = [Path(folder) / str(number) for number in range(len(BUGS))]
        with ThreadPoolExecutor(WORKERS) as pool:
            for bug, outcome in zip(BUGS, pool.map(outcome_of, copies, BUGS), strict=True):
                caught = outcome.startswith(bug.breaks)
                mark = "" if caught else "NOT CAUGHT: "
                print(f"{bug.what:58} {mark}{outcome or 'the test passes'}"[:170], flush=True)
                missed += not caught
    print(f"{len(BUGS) - missed} of {len(BUGS)} bugs caught, for {len(Invariant)} invariants")
    raise SystemExit(missed > 0)


def outcome_of(copy: Path, bug: Bug | None) -> str:
    """The invariant that is broken on a copy with that bug, and how; empty when none is."""
    prepare(copy)
    if bug is not None:
        bug.seed(copy)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "tests/test_state_machine.py"]
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env={**os.environ, "PRX_TUNNEL_SCRIPTS": SCRIPTS, "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it does not end within {LIMIT:g} s"
    if done.returncode == 0:
        return ""
    if done.returncode != 1:
        raise SystemExit(f"{bug}: the test could not be run\n{done.stdout}{done.stderr}")
    broken = REASON.findall(done.stdout)
    return broken[0] if broken else "it fails, and names no invariant"


def prepare(copy: Path) -> None:
    shutil.copytree(ROOT / "prx_tunnel_core", copy / "prx_tunnel_core")
    shutil.copytree(ROOT / "tests" / "support", copy / "tests" / "support")
    shutil.copy(ROOT / "tests" / "test_state_machine.py", copy / "tests")
    (copy / "pytest.ini").write_text("[pytest]\npythonpath = tests\n")
    (copy / "tests" / "conftest.py").write_text(PROFILE)


if __name__ == "__main__":
    main()
