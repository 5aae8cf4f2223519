from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent

# What takes long for a good reason: real servers and hosts, 229 faults, thirty wrong backends.
# `.ci/run` runs them; `uv run pytest -m heavy` does, too.
HEAVY = ("e2e", "faults", "hosts", "testing", "cli/test_agent", "process/test_host", "test_bench")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            if str(item.path.relative_to(HERE)).startswith(HEAVY):
                item.add_marker(pytest.mark.heavy)
