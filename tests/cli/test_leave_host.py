"""`prx tunnel start --detach` sheds the token of the host that it was started below."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import pytest

from prx_tunnel_core._cli.start import leave_host
from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.process._reaper.tokens import TOKEN_VARIABLE
from support.left import apart
from support.proc import PROGRAMS


@pytest.mark.parametrize("host", ["living", "living below one that is gone", "agent"])
def test_c15_the_token_of_a_living_host_is_shed_also_in_what_proc_shows(host: str) -> None:
    apart(PROGRAMS / "left_hosts.py", host, "False", "False")


def test_that_of_a_host_that_is_gone_stays() -> None:
    """Or what that host left would be ended, though it started us: a terminal, perhaps."""
    apart(PROGRAMS / "left_hosts.py", "gone", "True", "True")


def test_where_the_command_cannot_be_repeated_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: str, *_: object) -> NoReturn:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setenv(TOKEN_VARIABLE, "x.1;")
    monkeypatch.setattr(os, "execve", refuse)
    with pytest.raises(SetupError) as caught:
        leave_host()
    assert str(caught.value) == (
        "the tunnel cannot be detached from the program that started this command: "
        f"{sys.executable!r}: No such file or directory; run it with {TOKEN_VARIABLE} unset"
    )


def test_below_no_host_nothing_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("it starts again"))
    leave_host()
