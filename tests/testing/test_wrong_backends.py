"""The contract finds faults: each backend that does one thing wrong fails just the test for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from support import wrong_backends

TESTS = Path(__file__).parents[1]
PROCESSES = 2  # side by side, for most of the time a contract waits for its programs
FAILURE = re.compile(r"^(?:FAILED|ERROR) \S*::(\w+)::(\w+)", re.MULTILINE)
BACKENDS = list(wrong_backends.EXPECTED)


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The tests that failed, by contract; on asyncio only."""
    folder = tmp_path_factory.mktemp("wrong-backends")
    (folder / "pytest.ini").write_text("[pytest]\n")
    runs = [_run(folder, BACKENDS[part::PROCESSES]) for part in range(PROCESSES)]
    found: defaultdict[str, set[str]] = defaultdict(set)
    for run in runs:
        output, _ = run.communicate(timeout=150)
        assert run.returncode == pytest.ExitCode.TESTS_FAILED, output
        for contract, test in FAILURE.findall(output):
            found[contract].add(test)
    return found


def _run(folder: Path, contracts: list[str]) -> subprocess.Popen[str]:
    module = Path(str(wrong_backends.__file__))
    words = [
        "-m", "pytest", "-c", str(folder / "pytest.ini"), "--import-mode=importlib", "--tb=no",
        "-q", "-rfE", "-p", "no:cacheprovider", "--basetemp", str(folder / contracts[0]),
        "-p", "anyio.pytest_plugin", "-k", "not trio",
        *(f"{module}::{contract}" for contract in contracts),
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(TESTS),
            "COLUMNS": "1000",  # the summary is cut to the page
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the contract needs anyio's, and no other
        },
    )


def test_there_are_enough_of_them() -> None:
    assert sum(bool(fails) for fails in wrong_backends.EXPECTED.values()) >= 15


@pytest.mark.timeout(180)
@pytest.mark.parametrize("contract", BACKENDS)
def test_it_fails_the_one_test_that_is_meant_for_it(
    contract: str, failed: dict[str, set[str]]
) -> None:
    expected = wrong_backends.EXPECTED[contract]
    assert failed[contract] == ({expected} if expected else set())


def test_every_fault_that_the_contract_looks_for_has_a_backend_that_has_it() -> None:
    from prx_tunnel_core.testing._contract import TESTS as contract_tests

    untested = contract_tests - set(wrong_backends.EXPECTED.values())
    assert untested == {"test_the_contract_is_whole"}  # in test_contract.py
