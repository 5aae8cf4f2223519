"""A user who is a mere number: no name, no home directory, as in many a container."""

from __future__ import annotations

import pwd
import subprocess
from collections.abc import Mapping
from itertools import count

import pytest

from support.programs import needs_program

_OF_A_USER = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_RUNTIME_DIR")


def _free_number() -> int:
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    return next(number for number in count(4242) if number not in taken)


def as_nobody_known() -> list[str]:
    """What to put before a command, so that it runs as such a user, who owns what the tests own."""
    number = _free_number()
    before = [needs_program("unshare"), "-U", f"--map-user={number}", f"--map-group={number}"]
    if subprocess.run([*before, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs Linux with user namespaces for every user")
    return before


def without_a_user(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what says whose it is."""
    return {name: value for name, value in environ.items() if name not in _OF_A_USER}


def forget_the_user(patch: pytest.MonkeyPatch) -> None:
    """The same within this process."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in _OF_A_USER:
        patch.setenv(name, "")  # so that it is put back, also when there is none
        patch.delenv(name)
    patch.setattr("pwd.getpwuid", unknown)
