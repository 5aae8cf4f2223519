"""Does `test_state_machine.py` see what it is there for? Seed a bug for each invariant, and look.

    python tests/mutations.py

Each bug goes into a copy of the tree, where the test must fail. Prints a table; exits with 1 when a
bug was not caught, or when the copy without a bug does not pass.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPTS = "300"
WORKERS = 2
LIMIT = 40.0  # seconds, several times of what the test takes; a bug may also make it endless
REASON = re.compile(r"^E +(?:\| *)*((?:\w|\.)*(?:Error|Exception)\b.*)", re.MULTILINE)
# What it took to find a bug is of no interest here.
NO_SHRINKING = """
from hypothesis import Phase, settings
settings.register_profile("mutations", phases=[Phase.explicit, Phase.generate])
settings.load_profile("mutations")
"""


@dataclass(frozen=True)
class Bug:
    invariant: str
    module: str
    """Below `prx_tunnel_core/supervisor/`."""
    right: str
    wrong: str


BUGS = [
    Bug(
        "at most one live connection",
        "tunnel.py",
        "await self._run.finished.wait()  # the old connection goes before a new one comes",
        "self._run = None",
    ),
    Bug("no attempt while down is wanted", "tunnel.py", "self._stops += 1", "self._stops += 0"),
    Bug("only legal transitions", "lifecycle.py", "if not self._planned:", "if True:"),
    Bug(
        "stop without a connection is immediate",
        "lifecycle.py",
        "            await waking.sleep(self._ladder.delay)\n",
        "            with anyio.CancelScope(shield=True):\n"
        "                await waking.sleep(self._ladder.delay)\n",
    ),
    Bug(
        "stop returns when nothing is open",
        "tunnel.py",
        "            self._run.scope.cancel()\n            await self._run.finished.wait()\n",
        "            self._run.scope.cancel()\n",
    ),
    Bug(
        "a SetupError is never retried",
        "lifecycle.py",
        "if isinstance(ended.error, SetupError):",
        "if False:",
    ),
    Bug(
        "no disconnect before N failures in a row",
        "checking.py",
        "failed >= config.health_check_failures",
        "failed >= config.health_check_failures - 1",
    ),
    Bug(
        "a success clears the failures",
        "checking.py",
        "failed = 0  # what is merely",
        "failed += 0  # what is merely",
    ),
    Bug("Reconnecting holds no connection", "attempt.py", "if by_itself:", "if ends:"),
    Bug(
        "Connecting is bounded in time",
        "attempt.py",
        "deadline=anyio.current_time() + self.limit)",
        "deadline=math.inf)",
    ),
    Bug(
        "a connection has no deadline",
        "attempt.py",
        "scope.deadline = math.inf\n",
        "scope.deadline += 0\n",
    ),
    Bug(
        "a flapping tunnel climbs",
        "backoff.py",
        "if seconds >= max(STABLE, 2 * self.delay):",
        "if seconds >= 0:",
    ),
    Bug(
        "a stable one begins anew",
        "backoff.py",
        "if seconds >= max(STABLE, 2 * self.delay):",
        "if seconds < 0:",
    ),
    Bug(
        "the last attempt is the last",
        "backoff.py",
        "self.attempt >= self.config.max_attempts",
        "self.attempt > self.config.max_attempts",
    ),
    Bug("the delay has a maximum", "backoff.py", "min(longest, base *", "max(base, base *"),
    Bug("the delay is at least half", "backoff.py", "return ceiling / 2 + ", "return "),
]


def main() -> None:
    missed = 0
    with tempfile.TemporaryDirectory(prefix="prx-mutations-") as folder:
        if reason := caught(Path(folder) / "right", None):
            raise SystemExit(f"the test fails without any bug: {reason}")
        copies = [Path(folder) / str(number) for number in range(len(BUGS))]
        with ThreadPoolExecutor(WORKERS) as pool:
            for bug, reason in zip(BUGS, pool.map(caught, copies, BUGS), strict=True):
                print(f"{bug.invariant:42} {reason or 'NOT CAUGHT'}", flush=True)
                missed += not reason
    print(f"{len(BUGS) - missed} of {len(BUGS)} bugs caught")
    raise SystemExit(missed > 0)


def caught(copy: Path, bug: Bug | None) -> str:
    """Why the test fails on a copy with that bug; empty when it passes."""
    shutil.copytree(ROOT / "prx_tunnel_core", copy / "prx_tunnel_core")
    shutil.copytree(ROOT / "tests" / "support", copy / "tests" / "support")
    shutil.copy(ROOT / "tests" / "test_state_machine.py", copy / "tests")
    (copy / "pytest.ini").write_text("[pytest]\npythonpath = tests\n")
    (copy / "tests" / "conftest.py").write_text(NO_SHRINKING)
    if bug is not None:
        seed(copy / "prx_tunnel_core" / "supervisor" / bug.module, bug)
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
    reasons = re.findall(
        r"^E +(?:\| *)*((?:\w|\.)*(?:Error|Exception)\b.*)", done.stdout, re.MULTILINE
    )
    return reasons[-1][:80] if reasons else "it fails"


def seed(module: Path, bug: Bug) -> None:
    text = module.read_text()
    if text.count(bug.right) != 1:
        raise SystemExit(f"{bug.module}: {bug.right!r} does not stand there once; adapt {__file__}")
    module.write_text(text.replace(bug.right, bug.wrong))


if __name__ == "__main__":
    main()
