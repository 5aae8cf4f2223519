"""An empty virtual environment with wheels of this project in it, as their users install them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, **options: object) -> str:
    """The output of a command that has to succeed."""
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
        **options,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return str(done.stdout)


class Environment:
    """Made of the core with its extra `testing`, and of the distributions in these folders."""

    def __init__(self, folder: Path, distributions: Iterable[Path]) -> None:
        uv = shutil.which("uv")
        assert uv, "the tests run under uv: uv run pytest"
        self.bin = folder / "venv/bin"
        self._build(uv, folder / "dist", [ROOT, *distributions])
        run(uv, "venv", "--quiet", "--python", sys.executable, folder / "venv")
        wheels = [
            f"{wheel}[testing]" if wheel.name.startswith("prx_tunnel_core-") else str(wheel)
            for wheel in sorted((folder / "dist").glob("*.whl"))
        ]
        run(uv, "pip", "install", "--quiet", "--python", self.bin / "python", *wheels)

    def _build(self, uv: str, out: Path, distributions: list[Path]) -> None:
        """All at once: each waits most of the time for a build environment."""
        builds = [
            subprocess.Popen([uv, "build", "--quiet", "--wheel", "--out-dir", str(out), str(each)])
            for each in distributions
        ]
        codes = [build.wait(timeout=150) for build in builds]
        assert codes == [0] * len(builds), list(zip(distributions, codes, strict=True))

    def tests_of(self, distribution: Path) -> subprocess.Popen[str]:
        """Start its tests, which import what is installed and not what lies beside them."""
        words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(distribution / "tests")]
        return subprocess.Popen(
            [str(self.bin / "python"), *words],
            cwd=self.bin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={key: value for key, value in os.environ.items() if not key.startswith("PY")},
        )
