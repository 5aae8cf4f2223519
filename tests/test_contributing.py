"""CONTRIBUTING.md names files and commands that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from support.readme import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
QUOTED = re.findall(
    r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
)
COMMANDS = [shlex.split(text)[2:] for text in QUOTED if text.startswith("uv run ")]


def test_each_path_exists() -> None:
    paths = [text for text in QUOTED if re.fullmatch(r"[\w.*-]*(/[\w.*-]*)+", text)]
    assert len(paths) > 8
    for path in paths:
        assert list(ROOT.glob(path.rstrip("/"))), path


@pytest.mark.parametrize("command", COMMANDS, ids=shlex.join)
def test_each_command_has_something_to_run(command: list[str]) -> None:
    program, *arguments = command
    assert program in ("pytest", "python"), command
    paths = [word for word in arguments if "/" in word]
    for path in paths:
        assert (ROOT / path).is_file() or list((ROOT / path).glob("**/test_*.py")), path
    assert program == "pytest" or paths


def test_the_hooks_are_valid() -> None:
    program = Path(sys.executable).with_name("pre-commit")
    subprocess.run([str(program), "validate-config"], cwd=ROOT, check=True)
