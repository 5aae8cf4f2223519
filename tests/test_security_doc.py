"""docs/security.md: each promise stands in its table, with tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
CASES = {*(f"s{number:02}" for number in range(1, 17)), "u02"}


def section(title: str) -> str:
    """What stands below a heading, up to the next one of its level."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows() -> list[tuple[str, list[str]]]:
    """Each promise of the table with its tests."""
    found = re.findall(r"^\| ([^|]+?) \| (`[^|]+`) \|$", section("Tests"), re.MULTILINE)
    return [(promise, re.findall(r"`([^`]+)`", tests)) for promise, tests in found]


NAMED = sorted({test for _, tests in rows() for test in tests})


def exists(test: str) -> bool:
    """Whether there is a function of this ID: `file::function` or `file::class::function`."""
    file, *names = test.split("::")
    if not names or not names[-1].startswith("test_") or not (ROOT / file).is_file():
        return False
    inside = module(file)
    for name in names:
        kinds = (ast.ClassDef,) if name != names[-1] else (ast.FunctionDef, ast.AsyncFunctionDef)
        found = [node for node in inside if isinstance(node, kinds) and node.name == name]
        inside = found[0].body if found else []
    return bool(inside)


@cache
def module(file: str) -> list[ast.stmt]:
    return ast.parse((ROOT / file).read_text(encoding="utf-8")).body


def test_each_test_of_the_table_exists() -> None:
    assert [test for test in NAMED if not exists(test)] == []


def test_what_does_not_exist_is_noticed() -> None:
    here = "tests/test_security_doc.py"
    within = "tests/access/test_visitors.py::TestSeveralTunnels"
    known = "test_s07_the_marks_of_each_count"
    assert exists(f"{here}::test_what_does_not_exist_is_noticed")
    assert exists(f"{within}::{known}")
    for missing in (
        here,
        f"{here}::test_what_was_removed",
        f"{here}::exists",
        "tests/test_removed.py::test_what_does_not_exist_is_noticed",
        f"{within}::test_what_was_removed",
        f"tests/access/test_visitors.py::{known}",
        f"tests/access/test_visitors.py::TestRemoved::{known}",
    ):
        assert not exists(missing), missing


def test_each_promise_has_one_row_and_each_row_is_a_promise() -> None:
    stated = section("What is promised").split("\n### Files and programs\n")[0]
    promises = re.findall(r"^- \*\*(.+?\.)\*\*", stated, re.MULTILINE)
    assert len(promises) > 50
    assert promises == [promise for promise, _ in rows()]


def test_each_case_of_strangers_is_in_the_table() -> None:
    cases = {case for test in NAMED for case in re.findall(r"_([su]\d\d)(?=_)", test)}
    assert cases >= CASES, sorted(CASES - cases)
