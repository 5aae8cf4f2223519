"""The release workflow: one tag builds, checks and publishes every distribution."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)
BUILD, PUBLISH = WORKFLOW["jobs"]["build"], WORKFLOW["jobs"]["publish"]


def commands() -> list[str]:
    return [step["run"] for step in BUILD["steps"] if "run" in step]


def the_step(job: dict[str, Any], action: str) -> dict[str, Any]:
    (step,) = [each for each in job["steps"] if each.get("uses", "").startswith(f"{action}@")]
    settings: dict[str, Any] = step.get("with", {})
    return settings


def test_a_tag_starts_it_and_nothing_else_does() -> None:
    assert WORKFLOW[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads `on` as true


def test_only_the_job_that_publishes_may_and_it_runs_nothing_of_the_repository() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "permissions" not in BUILD
    assert PUBLISH["permissions"] == {"id-token": "write"}
    assert PUBLISH["environment"] == "release"
    assert PUBLISH["needs"] == "build"
    assert set(WORKFLOW["jobs"]) == {"build", "publish"}
    assert not [step for step in PUBLISH["steps"] if "run" in step]
    assert the_step(PUBLISH, "pypa/gh-action-pypi-publish") == {}  # publishes dist/


def test_what_was_checked_is_what_is_published() -> None:
    (check,) = [each for each in commands() if ".ci/wheels.py" in each]
    uploaded = the_step(BUILD, "actions/upload-artifact")
    downloaded = the_step(PUBLISH, "actions/download-artifact")
    assert check.endswith(" --out dist")
    assert downloaded == {"name": uploaded["name"], "path": "dist/"}
    assert uploaded["path"] == "dist/"


def test_every_distribution_of_the_repository_is_built() -> None:
    found = {
        path.parent
        for pattern in ("pyproject.toml", "*/pyproject.toml", "[!e]*/*/pyproject.toml")
        for path in ROOT.glob(pattern)
    }
    names = {
        tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"]
        for folder in found
    }
    assert len(names) == len(found) >= 7
    assert all(name.startswith("prx-tunnel-") for name in names)
    assert set(runpy.run_path(str(ROOT / ".ci/wheels.py"))["MEMBERS"]) == found


def test_no_step_has_an_address_a_secret_or_an_action_without_a_version() -> None:
    assert "://" not in TEXT
    assert "secrets." not in TEXT
    actions = [step["uses"] for job in (BUILD, PUBLISH) for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@(release/)?v[\d.]+", action) for action in actions)
    assert not [each for each in commands() if "${{" in each], "a shell takes it from a variable"


@pytest.mark.parametrize(("tag", "code"), [("right", 0), ("v0.0.1", 1)])
def test_the_tag_has_to_be_the_version(tag: str, code: int) -> None:
    (command,) = [each for each in commands() if ".ci/version.py" in each]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    environ = {**os.environ, "GITHUB_REF_NAME": f"v{version}" if tag == "right" else tag}
    words = ["bash", "-euo", "pipefail", "-c", command]
    done = subprocess.run(
        words, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == code, done.stderr


def test_nothing_that_lay_in_the_directory_is_published(tmp_path: Path) -> None:
    (tmp_path / "prx_tunnel_core-0.0.1.tar.gz").touch()
    command = [sys.executable, str(ROOT / ".ci/wheels.py"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 2
    assert f"{tmp_path} is not empty" in done.stderr
