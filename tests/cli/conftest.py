from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import Prx


@pytest.fixture
def prx(tmp_path: Path) -> Iterator[Prx]:
    runner = Prx(tmp_path)
    try:
        yield runner
    finally:
        runner.close()


@pytest.fixture
def fresh(prx: Prx) -> Prx:
    """Without a configuration file."""
    prx.config.unlink()
    return prx
