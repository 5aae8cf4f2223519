"""The page of faults, and the tests that prove it, tell of the same cases."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "faults.md"
LAST = {
    "A": 19, "B": 22, "C": 19, "D": 15, "E": 14, "F": 21, "G": 19,
    "H": 26, "I": 9, "J": 25, "K": 14, "L": 16, "M": 10,
}  # fmt: skip
# The second round came from the field. Its cases are listed once they are settled.
SECOND_ROUND = {"N": 12, "O": 10, "P": 7, "Q": 7, "R": 16, "S": 16, "T": 8, "U": 7}
CASES = {f"{letter}{n:02}" for letter, last in LAST.items() for n in range(1, last + 1)}
LATER = {f"{letter}{n:02}" for letter, last in SECOND_ROUND.items() for n in range(1, last + 1)}
VERDICTS = ("proven", "impossible here", "decided otherwise")

_ROW = re.compile(r"^\| ([A-Z][0-9]{2}) \| ([^|]+) \| (.+) \|$", re.MULTILINE)
# `test_f05_f06_redirects` proves two.
_TEST = re.compile(r"^\s*(?:async )?def test((?:_[a-u][0-9]{2})+)(?:_\w+)?\(", re.MULTILINE)


def rows() -> list[tuple[str, str, str]]:
    return [(case, verdict.strip(), why) for case, verdict, why in _ROW.findall(PAGE.read_text())]


def ids_of_tests() -> Counter[str]:
    """How many tests bear each ID."""
    found: Counter[str] = Counter()
    files = [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("plugins/*/tests/**/test_*.py")]
    for file in files:
        for names in _TEST.findall(file.read_text(encoding="utf-8")):
            found.update(name.upper() for name in names.split("_")[1:])
    return found


def test_there_are_229_cases_and_83_of_the_second_round() -> None:
    assert (len(CASES), len(LATER)) == (229, 83)


def test_every_case_has_exactly_one_verdict() -> None:
    listed = Counter(case for case, _, _ in rows())
    assert {case for case, times in listed.items() if times > 1} == set()
    assert set(listed) >= CASES
    assert set(listed) - CASES <= LATER
    assert {verdict for _, verdict, _ in rows()} <= set(VERDICTS)


def test_every_proven_case_has_a_test_and_every_other_one_a_reason() -> None:
    by_test = ids_of_tests()
    for case, verdict, why in rows():
        if verdict == "proven":
            assert by_test[case], f"{case} is called proven, and no test bears its ID"
        else:
            assert len(why) > 40, f"{case} is {verdict} without a reason"


def test_every_test_that_bears_an_id_proves_a_case_of_the_page() -> None:
    listed = {case for case, _, _ in rows()}
    assert set(ids_of_tests()) - listed == set()


def test_at_least_200_are_proven() -> None:
    assert sum(verdict == "proven" for _, verdict, _ in rows()) >= 200
