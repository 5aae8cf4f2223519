"""The demo under `python -X dev -W error`, by the interpreter that runs the tests."""

from __future__ import annotations

import json
import subprocess
import sys


def test_the_demo_runs_in_development_mode_without_a_warning() -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "prx_tunnel_core"]
    done = subprocess.run(
        [*command, "tunnel", "demo", "--json"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    # What a destructor or the end of the interpreter complains of does not change the exit code.
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["ok"]
