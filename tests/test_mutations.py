"""`tests/mutations.py` can still seed each of its bugs, and has one for each invariant."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support.seeded_bugs import BUGS, Bug, Misplaced
from support.tunnel_model import Invariant

CORE = Path(__file__).parents[1] / "prx_tunnel_core"


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_a_bug_has_one_place_to_go_to(bug: Bug) -> None:
    source = (CORE / bug.module).read_text(encoding="utf-8")
    seeded = bug.seeded(source)
    assert seeded != ast.unparse(ast.parse(source))
    compile(seeded, bug.module, "exec")


CODE = """
class Tunnel:
    def start(self):
        if self.ready:  # a comment
            self.begin()

    def stop(self):
        if self.ready:
            self.end()
"""


@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        ("self.begin()", "pass", "if self.ready:\n            pass"),
        ("self.ready", "not self.ready", "if not self.ready:\n            self.begin()"),
        ("if (self.ready):\n  self.begin()", "self.a()\nself.b()", "self.a()\n        self.b()"),
    ],
)
def test_a_bug_changes_one_function_in_one_place(right: str, wrong: str, code: str) -> None:
    seeded = Bug("", Invariant.ONE, "", "Tunnel.start", right, wrong).seeded(CODE)
    assert code in seeded
    assert "if self.ready:\n            self.end()" in seeded


@pytest.mark.parametrize(
    ("function", "right"),
    [("Tunnel.start", "self.end()"), ("Tunnel.start", "self"), ("Tunnel.abort", "self.ready")],
)
def test_a_bug_without_its_place_is_an_error(function: str, right: str) -> None:
    with pytest.raises(Misplaced, match="adapt"):
        Bug("", Invariant.ONE, "", function, right, "pass").seeded(CODE)


def test_each_invariant_has_a_bug_that_breaks_it() -> None:
    assert {bug.breaks for bug in BUGS} == set(Invariant)
