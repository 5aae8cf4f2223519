"""Real programs that a test needs: found, or plainly said to be missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

# Where programs are that are not for everybody's PATH, and where cargo puts what it builds.
_BESIDE = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def needs_program(name: str) -> str:
    """Its absolute path. Without it the test is skipped; it fails where programs are required.

    `PRX_TUNNEL_REQUIRE_PROGRAMS=1` requires them: there, nothing may be left untested.
    """
    cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo") / "bin"
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_BESIDE, str(cargo)])
    if found := shutil.which(name, path=path):
        return os.path.abspath(found)
    reason = f"the program {name} is not installed"
    if os.environ.get("PRX_TUNNEL_REQUIRE_PROGRAMS") == "1":
        pytest.fail(f"{reason}, and PRX_TUNNEL_REQUIRE_PROGRAMS=1 forbids to skip this test")
    pytest.skip(reason)
