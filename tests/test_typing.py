"""Type checkers accept what authors should write, and refuse what they should not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.programs import needs_program

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "typing_tests"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=150
    )


def copied(tmp_path: Path, old: str, new: str) -> Path:
    """The folder with one change in it, which is still where its checkers find everything."""
    folder = tmp_path / "typing_tests"
    shutil.copytree(FOLDER, folder)
    module = folder / "backends.py"
    text = module.read_text(encoding="utf-8")
    assert old in text
    module.write_text(text.replace(old, new), encoding="utf-8")
    return folder


def mypy(folder: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    config = ROOT / "pyproject.toml"
    return run(
        sys.executable, "-m", "mypy", "--config-file", config, "--cache-dir", cache, folder
    )  # fmt: skip


@pytest.mark.heavy
@pytest.mark.timeout(200)
def test_mypy(tmp_path: Path) -> None:
    done = mypy(FOLDER, tmp_path / "cache")
    assert done.returncode == 0, done.stdout
    wrong = copied(
        tmp_path, "config=Config, connect=connect,", "config=OtherConfig, connect=connect,"
    )
    done = mypy(wrong, tmp_path / "cache")
    assert "[arg-type]" in done.stdout


@pytest.mark.heavy
@pytest.mark.timeout(200)
def test_pyright(tmp_path: Path) -> None:
    """By basedpyright, whose wheel has all it needs; its rules here are pyright's."""
    beside = os.path.dirname(sys.executable)
    program = shutil.which("basedpyright", path=beside) or needs_program("basedpyright")
    command = (program, "--outputjson", "--pythonpath", sys.executable, "-p")
    report = json.loads(run(*command, FOLDER).stdout)
    assert report["summary"]["filesAnalyzed"] == 2
    assert report["generalDiagnostics"] == []
    wrong = copied(
        tmp_path, "config=Config, connect=connect,", "config=OtherConfig, connect=connect,"
    )
    report = json.loads(run(*command, wrong).stdout)
    assert "reportArgumentType" in {each["rule"] for each in report["generalDiagnostics"]}
