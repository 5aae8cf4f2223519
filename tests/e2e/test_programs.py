"""A program that is missing: said plainly, and no excuse where everything has to be tested."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.programs import needs_program


@pytest.fixture(autouse=True)
def _nothing_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRX_TUNNEL_REQUIRE_PROGRAMS", raising=False)


def test_a_missing_program_skips_and_is_named() -> None:
    with pytest.raises(pytest.skip.Exception, match="the program no-such-program is not installed"):
        needs_program("no-such-program")


def test_a_missing_program_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRX_TUNNEL_REQUIRE_PROGRAMS", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        needs_program("no-such-program")


def test_programs_are_found_where_cargo_puts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "some-program"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    monkeypatch.setenv("CARGO_HOME", str(tmp_path))
    assert needs_program("some-program") == str(program)
    assert os.path.isabs(needs_program("sh"))
