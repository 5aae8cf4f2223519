"""The steps that `prx tunnel new-backend` prints work as printed, wherever the core is from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.installed import ROOT, run

pytestmark = pytest.mark.timeout(240)

UV = str(shutil.which("uv"))
ENVIRON = {
    key: value
    for key, value in os.environ.items()
    if not key.startswith("PY") and key not in {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
}


def printed_steps(prx: Path, folder: Path, *arguments: str) -> str:
    """The indented lines of the output, as a person copies them."""
    output = run(prx, "tunnel", "new-backend", *arguments, cwd=folder, env=ENVIRON)
    return "".join(line[2:] for line in output.splitlines(keepends=True) if line.startswith("  "))


def works_as_printed(steps: str, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", steps],
        cwd=folder,
        env=ENVIRON,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, f"{steps}\n{done.stdout}{done.stderr}"
    assert " passed" in done.stdout


@pytest.mark.parametrize("core", [[str(ROOT)], ["--editable", str(ROOT)]], ids=["copy", "editable"])
def test_t06_the_printed_steps_work_with_pip(core: list[str], tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", environment, env=ENVIRON)
    run(environment / "bin/pip", "install", "--quiet", *core, env=ENVIRON)
    arguments = ["relay", "-a folder's name"] if "--editable" in core else ["relay"]
    steps = printed_steps(environment / "bin/prx", tmp_path, "--", *arguments)
    works_as_printed(steps, tmp_path)
    assert "relay" in run(environment / "bin/prx", "tunnel", "backends", env=ENVIRON)


def test_t06_the_printed_steps_work_in_an_environment_without_pip(tmp_path: Path) -> None:
    """From wheels, which leave no trace of where they came from, as from an index."""
    environment, wheels = tmp_path / "venv", tmp_path / "dist"
    run(UV, "build", "--quiet", "--wheel", "--out-dir", wheels, ROOT, env=ENVIRON)
    run(UV, "venv", "--quiet", "--python", sys.executable, environment, env=ENVIRON)
    python = environment / "bin/python"
    install = (UV, "pip", "install", "--quiet", "--python", python)
    run(*install, "--find-links", wheels, "prx-tunnel-core", env=ENVIRON)
    works_as_printed(printed_steps(environment / "bin/prx", tmp_path, "relay"), tmp_path)
