from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.proc import nothing_left


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    with nothing_left():
        yield
