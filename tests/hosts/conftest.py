from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hosts import Host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    runner = Host(tmp_path)
    try:
        yield runner
    finally:
        runner.close()
