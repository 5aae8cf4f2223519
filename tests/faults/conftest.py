"""For every case of the fault catalogue: it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.proc import Gate, nothing_left


@pytest.fixture
def anyio_backend() -> str:
    """One loop, where it does not matter; `support.faults.both_loops` is for where it does."""
    return "asyncio"


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    with nothing_left():
        yield


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path)
    yield made
    made.close()
