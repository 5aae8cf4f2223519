"""Which tests are left out of the default run; `.ci/run` runs them all."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent

# What takes long for a good reason: real servers and hosts, 229 faults, thirty wrong backends, the
# contract with every fault for every backend.
HEAVY = (
    "tests/cli/test_agent",
    "tests/e2e/",
    "tests/faults/",
    "tests/hosts/",
    "tests/process/test_host",
    "tests/test_bench",
    "tests/testing/",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
        if path.startswith(HEAVY) or path.endswith("test_contract.py"):
            item.add_marker(pytest.mark.heavy)
