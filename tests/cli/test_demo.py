"""`prx tunnel demo` as a newcomer runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

MAIN = "from prx_tunnel_core._cli import main; raise SystemExit(main())"
PRX = [sys.executable, "-W", "error", "-c", MAIN, "tunnel", "demo"]

STEPS = [
    "agent", "connected", "delivered", "cut", "reconnecting", "connected again", "delivered again",
    "health", "stopped", "nothing left",
]  # fmt: skip


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PRX, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_every_step_happens_within_fifteen_seconds() -> None:
    begun = time.monotonic()
    result = demo("--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert [step["step"] for step in report["steps"]] == STEPS
    assert report["ok"]
    times = [step["at"] for step in report["steps"]]
    assert times == sorted(times)
    assert times[-1] <= report["seconds"] <= time.monotonic() - begun < 15


def test_a_person_sees_each_step() -> None:
    result = demo()
    assert result.returncode == 0, result.stderr
    assert [line[10:26].strip() for line in result.stdout.splitlines()[:-1]] == STEPS
    assert "embedded relay: reachable from this machine only" in result.stdout
    assert "signature verified" in result.stdout


def test_a_backend_that_is_missing_fails_the_demo_with_the_fix() -> None:
    result = demo("--backend", "nowhere", "--json")
    assert result.returncode == 2
    assert result.stdout == ""
    assert "called prx-tunnel-nowhere" in result.stderr
