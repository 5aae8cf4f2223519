"""`tests/mutations.py` can still seed each of its bugs, and has one for each invariant."""

from __future__ import annotations

import pytest
from mutations import ROOT, place_of

from support.seeded_bugs import BUGS, Bug
from support.tunnel_model import Invariant


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_a_bug_has_one_place_to_go_to(bug: Bug) -> None:
    place_of(bug, ROOT)


def test_each_invariant_has_a_bug_that_breaks_it() -> None:
    assert {bug.breaks for bug in BUGS} == set(Invariant)
