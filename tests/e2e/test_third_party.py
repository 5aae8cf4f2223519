"""The README's backend, built, installed into an empty environment beside the core, and used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.readme import blocks

ROOT = Path(__file__).parents[2]

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "prx-tunnel-bore"
version = "0.1.0"
dependencies = ["prx-tunnel-core"]

[project.entry-points.prx_tunnel]
bore = "prx_tunnel_bore"
"""


def run(*command: str | Path) -> str:
    result = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty virtual environment with the core's wheel and the README's plugin."""
    uv = shutil.which("uv")
    assert uv, "the tests run under uv: uv run pytest"
    folder = tmp_path_factory.mktemp("third-party")
    (code,) = [block for block in blocks("python") if "hookimpl" in block]
    (folder / "prx_tunnel_bore.py").write_text(code, encoding="utf-8")
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    run(uv, "build", "--quiet", "--wheel", "--out-dir", folder / "dist", folder)
    run(uv, "build", "--quiet", "--wheel", "--out-dir", folder / "dist", ROOT)
    run(uv, "venv", "--quiet", "--python", sys.executable, folder / "venv")
    wheels = sorted((folder / "dist").glob("*.whl"))
    python = folder / "venv/bin/python"
    run(uv, "pip", "install", "--quiet", "--python", python, *wheels)
    return folder / "venv/bin"


@pytest.mark.timeout(180)
def test_it_is_found_by_its_name(environment: Path) -> None:
    (bore,) = json.loads(run(environment / "prx", "tunnel", "backends", "--json"))
    assert (bore["name"], bore["distribution"], bore["version"]) == (
        "bore", "prx-tunnel-bore", "0.1.0",
    )  # fmt: skip
    assert not bore["problem"]
    assert bore["program"] == "bore"


def test_what_is_not_installed_is_named_with_the_fix(environment: Path) -> None:
    result = subprocess.run(
        [environment / "prx", "tunnel", "start", "--backend", "frp"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 2
    assert "called prx-tunnel-frp" in result.stderr
