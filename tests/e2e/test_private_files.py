"""Killed hosts leave no file of a backend's: real commands, with programs that only hang."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.command import PATIENCE, Prx
from support.hosts import children_of
from support.proc import gone

SETTINGS = {
    "cloudflare": "program = '{program}'",
    "ngrok": "program = '{program}'\nbasic_auth = ['user:the-password']",
    "custom": "command = ['{program}']\nurl_pattern = 'https://a.example.com'",
}
PROGRAM = """#!/bin/sh
case "$1" in
    version | --version) echo "ngrok version 3.39.1"; exit 0 ;;
    config) exit 0 ;;
esac
echo $$ > '{pid}'
exec sleep 600
"""


@pytest.fixture
def prx(tmp_path: Path) -> Iterator[Prx]:
    runner = Prx(tmp_path)
    (tmp_path / "tmp").mkdir()
    runner.environ["TMPDIR"] = str(tmp_path / "tmp")
    yield runner
    runner.close()


def until(condition: Callable[[], object]) -> None:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < PATIENCE
        time.sleep(0.02)


def start(prx: Prx, backend: str) -> tuple[int, int]:
    """The numbers of prx, and of the program once it runs."""
    program, pid = prx.home / "program", prx.home / "pid"
    program.write_text(PROGRAM.format(pid=pid))
    program.chmod(0o700)
    pid.unlink(missing_ok=True)
    table = SETTINGS[backend].format(program=program)
    prx.config.write_text(f"[tunnel]\nbackend = '{backend}'\n[tunnel.{backend}]\n{table}\n")
    process = prx.start()
    until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    return process.pid, int(pid.read_text())


@pytest.mark.parametrize("backend", SETTINGS)
def test_u02_a_killed_host_leaves_no_private_file(prx: Prx, backend: str) -> None:
    temporary = prx.home / "tmp"
    host, program = start(prx, backend)
    assert backend == "custom" or os.listdir(temporary)
    os.kill(host, signal.SIGKILL)
    gone([program], PATIENCE)
    until(lambda: os.listdir(temporary) == [])


@pytest.mark.parametrize("backend", SETTINGS)
def test_u02_nor_after_the_next_start_one_that_was_killed_with_its_guard(
    prx: Prx, backend: str
) -> None:
    temporary = prx.home / "tmp"
    host, program = start(prx, backend)
    left = os.listdir(temporary)
    (guard,) = (
        pid
        for pid in children_of(host)
        if b"guard_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(guard, signal.SIGKILL)
    os.kill(host, signal.SIGKILL)
    gone([guard, host], PATIENCE)
    assert os.listdir(temporary) == left
    start(prx, "custom")
    gone([program], PATIENCE)
    until(lambda: os.listdir(temporary) == [])
