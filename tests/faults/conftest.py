"""For every case of the fault catalogue: it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.proc import nothing_left


@pytest.fixture
def anyio_backend() -> str:
    """One loop, where it does not matter; `support.faults.both_loops` is for where it does."""
    return "asyncio"


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    with nothing_left():
        yield
