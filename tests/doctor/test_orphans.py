"""The doctor reports programs that outlived their host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.left import apart

LOOK = """
import anyio, json
from pathlib import Path
from support.doctor import found

def orphans():
    checks = anyio.run(found, Path(sys.argv[1]))
    return [(check.verdict, check.detail) for check in checks.get("orphans", [])]

"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(tmp_path / "runtime"))
    path = tmp_path / "config.toml"
    path.touch(0o600)
    return str(path)


FOUND = """
assert orphans() == []
pids = sorted(left_by_a_dead_host())
print(json.dumps([pids, orphans()]))
with next_start():
    gone(pids, 5)
assert orphans() == []
"""


def test_programs_of_a_dead_host_are_named_until_they_are_ended(file: str) -> None:
    pids, checks = json.loads(apart(LOOK + FOUND, file))
    ((verdict, detail),) = checks
    assert verdict == "fail"
    assert detail.startswith(
        "5 still running after their host was killed together with its guard; "
    )
    assert f"run: kill {' '.join(map(str, pids))} (or start a tunnel, whose" in detail


LIVING = """
from support.proc import PROGRAMS

with host(PROGRAMS / "host_stubborn.py") as process:
    heard(process)
    assert orphans() == []
"""


def test_programs_of_a_living_host_are_no_orphans(file: str) -> None:
    apart(LOOK + LIVING, file)
