"""Which releases of Python the distributions claim: all the same, and those that the check runs."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
TESTED = ["3.11", "3.12", "3.13"]


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: str(path.parent.name))
def test_each_distribution_claims_what_is_tested(path: Path) -> None:
    project = tomllib.loads(path.read_text())["project"]
    prefix = "Programming Language :: Python :: "
    claimed = [each.removeprefix(prefix) for each in project["classifiers"] if prefix in each]
    assert claimed == ["3 :: Only", *TESTED]
    assert project["requires-python"] == f">={TESTED[0]}"


def test_no_pin_is_for_some_of_them_only() -> None:
    pins = tomllib.loads(PROJECTS[0].read_text())["tool"]["uv"]["constraint-dependencies"]
    assert not [pin for pin in pins if ";" in pin]
