"""The stand-in: the program that the kit installs in place of the backend's."""

from __future__ import annotations

import fcntl
import marshal
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from prx_tunnel_core.process._reaper import procfs

Step: TypeAlias = tuple[str, str]

_MAIN = Path(__file__).with_name("_stand_in_main.py")


@dataclass(frozen=True)
class Run:
    """One process of the stand-in."""

    pid: int
    arguments: list[str]
    path: Path

    def alive(self) -> bool:
        with self.path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def works(self) -> bool:
        """Whether it runs and is not stopped; STOP takes effect a moment after it was sent."""
        if not self.alive():
            return False
        threads = Path(f"/proc/{self.pid}/task")
        if not threads.is_dir():
            ps = ["ps", "-o", "stat=", "-p", str(self.pid)]
            return not subprocess.run(ps, capture_output=True, check=False).stdout.startswith(b"T")
        try:
            states = [(each / "stat").read_text().rpartition(")")[2] for each in threads.iterdir()]
        except OSError:  # a thread has just ended, perhaps with all the others
            return True
        return any(state.split()[0] != "T" for state in states)

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it runs: while it holds its lock, its id is not reused."""
        if self.alive():
            os.kill(self.pid, number)


class StandIn:
    """A folder with a program of that name, and the plan for its next runs."""

    def __init__(
        self, folder: Path, name: str, *, announces: Sequence[str], source: str, subcommand: str
    ) -> None:
        self._folder = folder
        self._plan = {"announces": list(announces), "source": source, "subcommand": subcommand}
        (folder / "runs").mkdir(parents=True)
        self._gates: dict[str, int] = {}
        self._gate("later")
        self.bin = folder / "bin"
        self.bin.mkdir(mode=0o755)
        # By a shell, as the path in a `#!` line must not be long or have a blank.
        program = self.bin / name
        words = [sys.executable, "-I", "-S", str(_MAIN), str(folder), str(program)]
        program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        self.does()

    def does(self, *before: Step, after: Sequence[Step] = ()) -> None:
        """Set what the next runs do before they play the program, and after `go_on`."""
        for kind, name in before:
            if kind == "gate":
                self._gate(name)
        plan = {**self._plan, "before": list(before), "after": list(after)}
        (self._folder / "plan").write_bytes(marshal.dumps(plan))

    def go_on(self, gate: str = "later") -> None:
        os.write(self._gates[gate], b"!")

    def marked(self, name: str) -> bool:
        """Whether a run has reached the step `mark` of that name."""
        return (self._folder / name).exists()

    @property
    def runs(self) -> list[Run]:
        """Every process so far, including children of the program."""
        return [
            Run(int(path.name.partition(".")[0]), marshal.loads(path.read_bytes()), path)  # noqa: S302
            for path in sorted((self._folder / "runs").iterdir())
        ]

    def alive(self) -> list[Run]:
        return [run for run in self.runs if run.alive()]

    def is_running(self) -> bool:
        """Whether any process runs, including one that has not written its note yet."""
        return bool(self.alive()) or bool(self._beginning())

    def _beginning(self) -> list[int]:
        folder, noted = os.fsencode(self._folder), {run.pid for run in self.runs}
        return [
            pid
            for pid in procfs.processes()
            if pid not in noted and folder in procfs.content(f"/proc/{pid}/cmdline")
        ]

    def kill(self) -> None:
        for pid in self._beginning():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for run in self.runs:
            run.send(signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        for descriptor in self._gates.values():
            os.close(descriptor)
        self._gates.clear()

    def _gate(self, name: str) -> None:
        if name not in self._gates:
            path = self._folder / name
            os.mkfifo(path)
            # Both ends, so that opening it blocks neither the program nor the test.
            self._gates[name] = os.open(path, os.O_RDWR | os.O_CLOEXEC)
