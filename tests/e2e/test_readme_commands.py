"""The README's terminals: each command is run, and prints what the page shows.

The two commands with which a newcomer begins are run by `.ci/run`.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.http_server import free_port
from support.readme import ROOT, blocks, console_blocks

PATIENCE = 30.0  # seconds

ONE_MINUTE, ASKING, RUNNING = (
    block for block in console_blocks() if not block[0].startswith("$ python3 -m venv")
)


class Terminal:
    """A user's shell, with a cloudflared that plays a quick tunnel."""

    def __init__(self, home: Path) -> None:
        from cloudflare_kit.installed import StandIn

        self.port = free_port()
        self.stand_in = StandIn(home / "bin")
        self.stand_in.plan({"hostname": "quiet-lake-7.trycloudflare.com"})
        self.environ = {
            "HOME": str(home),
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            "PRX_TUNNEL_RUNTIME_DIR": str(home / "runtime"),
        }

    def command(self, line: str) -> list[str]:
        """The line of the README as it is run here: this interpreter, a free port."""
        program, *arguments = shlex.split(line.removeprefix("$ ").replace("8000", str(self.port)))
        assert program == ".venv/bin/prx"
        return [sys.executable, "-m", "prx_tunnel_core", *arguments]

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(line),
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.syspath_prepend(str(ROOT / "plugins/cloudflare/tests"))
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.stand_in.close()


def first_lines(process: subprocess.Popen[str], number: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(number)]


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)


def test_a_public_url_in_one_minute(terminal: Terminal) -> None:
    install, start, *printed = ONE_MINUTE
    assert install == "$ .venv/bin/pip install . ./plugins/cloudflare"
    with socket.create_server(("127.0.0.1", terminal.port)):
        process = terminal.start(terminal.command(start))
        try:
            shown = [line.replace("8000", str(terminal.port)) for line in printed]
            assert first_lines(process, len(printed)) == shown
        finally:
            stop(process)


def test_the_commands_that_speak_to_a_tunnel(terminal: Terminal) -> None:
    with socket.create_server(("127.0.0.1", terminal.port)):
        started = terminal.run(f"{ONE_MINUTE[1]} --detach")
        assert started.returncode == 0, started.stderr
        for line in ASKING:
            done = terminal.run(line)
            assert done.returncode in (0, 4), done.stderr  # 4: no such name in the public DNS
    assert terminal.run(ASKING[0]).returncode == 3


def test_the_commands_that_receive_a_webhook(terminal: Terminal, tmp_path: Path) -> None:
    inbox, app = RUNNING
    process = terminal.start(terminal.command(inbox))
    try:
        lines = first_lines(process, 3)
        assert any("printing requests to http://" in line for line in lines), lines
        with socket.create_connection(("127.0.0.1", terminal.port)) as client:
            client.sendall(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert any("POST /hook" in line for line in first_lines(process, 3))
    finally:
        stop(process)
    (guarded,) = (code for code in blocks("python") if "RouteGuard" in code)
    (tmp_path / "app.py").write_text(guarded)
    terminal.environ |= {"PYTHONPATH": str(tmp_path), "GITHUB_WEBHOOK_SECRET": "s" * 20}
    terminal.environ["PATH"] = f"{Path(sys.executable).parent}:{terminal.environ['PATH']}"
    process = terminal.start(terminal.command(app))
    try:
        said = ""
        while "Tunnel connected" not in said:
            (line,) = first_lines(process, 1)
            assert line, said
            said += line
        forged = b"POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        with socket.create_connection(("127.0.0.1", terminal.port)) as client:
            client.sendall(forged)
            assert re.match(rb"HTTP/1.1 4\d\d", client.recv(100))
    finally:
        stop(process)
