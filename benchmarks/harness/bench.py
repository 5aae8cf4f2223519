"""What a figure is given to measure with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness import environments
from benchmarks.harness.environments import OURS, ROOT
from benchmarks.harness.programs import Programs

PATIENCE = 120  # seconds that one measured process may take

# Of the environment only this, and what a measure adds: no token, no proxy, no settings of a user.
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR")


class Ran(NamedTuple):
    """A process from its start to its end."""

    seconds: float
    started: int
    """Nanoseconds, on the clock that every process of the machine shares."""
    output: str


class Bench:
    def __init__(self, folder: Path, *, quick: bool, peers: bool) -> None:
        self.folder = folder
        self.quick = quick
        self.programs = Programs(folder)
        self._peers = peers
        self._complaints = folder / "complaints"

    def rounds(self, quick: int, full: int) -> int:
        return quick if self.quick else full

    def peers(self, *wanted: str) -> list[str]:
        """Those of the wanted peers that may be run here: none where they could reach a network."""
        return list(wanted) if self._peers else []

    def run(self, who: str, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
        """Run the interpreter of an environment to its end."""
        return self.run_program([self.interpreter(who), *arguments], env=env)

    def run_program(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> Ran:
        with self._complaints.open("wb") as complaints:
            started = time.monotonic_ns()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                cwd=self.folder,
                env=self.environment(env),
            )
        with process:
            assert process.stdout is not None
            output = process.stdout.read().decode()
            code = process.wait()
            seconds = (time.monotonic_ns() - started) / 1e9
        if code:
            said = self._complaints.read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"{command[0]} ended with {code}:\n{said}")
        return Ran(seconds, started, output)

    def work(
        self, module: str, *arguments: object, env: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Run a figure's own module as a process of our environment; the object that it prints."""
        found: dict[str, Any] = json.loads(self._work(module, arguments, env))
        return found

    def _work(self, module: str, arguments: Iterable[object], env: Mapping[str, str] | None) -> str:
        command = [self.interpreter(OURS), "-m", module, *map(str, arguments)]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=self.folder,
            env=self.environment({**self.importable(), **(env or {})}),
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{module} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout.splitlines()[-1]

    def interpreter(self, who: str) -> str:
        # Ours is the one that runs this: the checkout may change meanwhile, and with it the name.
        return sys.executable if who == OURS else str(environments.python(who))

    def importable(self) -> dict[str, str]:
        """What a measured process needs to run a figure's own module."""
        return {"PYTHONPATH": str(ROOT)}

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # A home of its own: what a peer finds or leaves there is nobody's.
        home = {"HOME": str(self.folder), "PRX_TUNNEL_RUNTIME_DIR": f"{self.folder}/runtime"}
        return {**kept, **home, **(more or {})}
