"""`prx` under a user identifier without an entry in passwd, and without HOME."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import Prx, until
from support.nameless import as_nobody_known, without_a_user


class NamelessPrx(Prx):
    def __init__(self, home: Path) -> None:
        self._before = as_nobody_known()
        super().__init__(home)
        self.environ = without_a_user(self.environ)

    def command(self, *arguments: str) -> list[str]:
        return [*self._before, *super().command(*arguments)]


@pytest.fixture
def prx(tmp_path: Path) -> Iterator[Prx]:
    runner = NamelessPrx(tmp_path)
    try:
        yield runner
    finally:
        runner.close()


def test_o06_the_embedded_relay_needs_neither_a_name_nor_a_home(prx: Prx) -> None:
    prx.config.write_text("[tunnel]\nbackend = 'ssh'\nlocal_port = 3000\n")
    process = prx.start()
    assert "http://127.0.0.1:" in until(process, "connected")[-1]
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=20)
    assert "Traceback" not in errors
    assert "Not connected" not in output


@pytest.mark.parametrize(
    ("keys", "fix"),
    [
        ("", "known_hosts: ~/.ssh/known_hosts: this user has no home directory; set HOME, or"),
        ("known_hosts = '/nonexistent/known'", "has no name: set username in [tunnel.ssh]"),
        (
            "known_hosts = '/nonexistent/known'\nusername = 'a'\nidentity_file = '~/.ssh/key'",
            "identity_file: ~/.ssh/key: this user has no home directory; set HOME, or",
        ),
    ],
)
def test_o06_another_server_needs_them_and_it_is_said_once(prx: Prx, keys: str, fix: str) -> None:
    prx.config.write_text(
        f"[tunnel]\nbackend = 'ssh'\n[tunnel.ssh]\nhost = '127.0.0.1'\nport = 9\n{keys}\n"
    )
    done = prx("tunnel", "start")
    assert done.returncode in (1, 2)
    assert fix in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "Not connected" not in done.stdout, "it was retried"


def test_o06_each_command_says_where_else_its_files_may_be(prx: Prx) -> None:
    del prx.environ["PRX_TUNNEL_RUNTIME_DIR"], prx.environ["PRX_CONFIG"]
    for arguments, fix in {
        ("status",): "set PRX_TUNNEL_RUNTIME_DIR to a directory of yours",
        ("start", "--backend", "lab"): "set PRX_TUNNEL_RUNTIME_DIR to a directory of yours",
        ("logs",): "set XDG_STATE_HOME to a directory",
    }.items():
        done = prx("tunnel", *arguments)
        assert done.returncode in (1, 2), arguments
        assert fix in done.stderr, arguments
        assert "Traceback" not in done.stderr, arguments


def test_o06_it_is_this_user_indeed(prx: Prx) -> None:
    code = "import os, pwd; pwd.getpwuid(os.getuid())"
    command = [*as_nobody_known(), sys.executable, "-c", code]
    done = subprocess.run(command, env=prx.environ, capture_output=True, text=True, check=False)
    assert "uid not found" in done.stderr
