"""The stand-in is known as long as it runs, even before it has written its note."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prx_tunnel_core.testing._stand_in import StandIn


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    made = StandIn(tmp_path / "stand-in", "faulty", announces=["up"], source="", subcommand="")
    yield made
    made.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only what noted itself is known")
def test_a_program_that_has_not_noted_itself_is_known_and_ended(
    stand_in: StandIn, tmp_path: Path
) -> None:
    plan = tmp_path / "stand-in" / "plan"
    plan.unlink()
    os.mkfifo(plan)  # it reads this first, and waits for somebody to write
    assert not stand_in.is_running()
    with subprocess.Popen([stand_in.bin / "faulty"]) as process:
        try:
            begun = time.monotonic()
            while not stand_in.is_running():  # in the middle of exec() it has no command line
                assert time.monotonic() - begun < 10
            assert not stand_in.runs
            stand_in.kill()
            assert process.wait(10) == -9
        finally:
            process.kill()
    assert not stand_in.is_running()
