"""For every case of the fault catalogue: it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import Prx
from support.proc import nothing_left


@pytest.fixture
def anyio_backend() -> str:
    """One loop, where it does not matter; `support.faults.both_loops` is for where it does."""
    return "asyncio"


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    with nothing_left():
        yield


@pytest.fixture
def prx(tmp_path: Path) -> Iterator[Prx]:
    runner = Prx(tmp_path)
    yield runner
    runner.close()
