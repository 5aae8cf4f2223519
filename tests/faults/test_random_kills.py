"""C: many kills, at random moments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "soak_kills.py"


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_c04_hosts_that_are_killed_at_random_moments_leave_nothing() -> None:
    kills = os.environ.get("PRX_TUNNEL_KILLS", "30")
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", kills], capture_output=True, text=True, check=False
    )
    assert f"{kills} hosts killed, nothing left" in done.stdout, done.stdout + done.stderr
