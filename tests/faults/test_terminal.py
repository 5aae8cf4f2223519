"""C: signals of a terminal and of a service manager, at the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import Prx, until
from support.proc import alive, program

PATIENCE = 30.0


class ProgramPrx(Prx):
    """With the backend `custom`, over the stand-in."""

    def runs(self, *steps: str) -> None:
        url = "print:https://agent.example.com"
        command = json.dumps(program(*steps, url, "hang"))
        self.config.write_text(
            "[tunnel]\nbackend = 'custom'\nhealth_check_url = false\n[tunnel.custom]\n"
            f"command = {command}\nurl_pattern = 'agent.example.com'\nstop_grace = 30\n"
        )


@pytest.fixture
def prx(tmp_path: Path) -> Iterator[ProgramPrx]:
    made = ProgramPrx(tmp_path)
    yield made
    made.close()


def test_c14_ctrl_c_is_for_the_host_to_decide_on(prx: ProgramPrx) -> None:
    int_, term = prx.home / "int", prx.home / "term"
    prx.runs(f"on:INT,touch:{int_}", f"on:TERM,touch:{term}+exit:0")
    process = prx.start(start_new_session=True)
    until(process, "connected")
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does, to everybody in front of it
    assert process.wait(PATIENCE) == 0
    assert (int_.exists(), term.exists()) == (False, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_c16_a_second_signal_does_not_cut_off_the_stop(
    prx: ProgramPrx, number: signal.Signals
) -> None:
    draining, drained = prx.home / "draining", prx.home / "drained"
    prx.runs(f"on:TERM,touch:{draining}+sleep:0.2+touch:{drained}+exit:0")
    process = prx.connected()
    process.send_signal(number)
    wait_for(draining)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGHUP)
    assert process.wait(PATIENCE) == 0
    assert drained.exists()


IN_A_TERMINAL = "import pty, sys; pty.spawn(sys.argv[1:])"


def test_c15_a_detached_tunnel_survives_its_terminal(prx: ProgramPrx) -> None:
    up = prx.home / "up"
    start = " ".join(f"'{word}'" for word in prx.command("tunnel", "start", "--detach"))
    text = f"{start} && echo $$ >{up}.part && mv {up}.part {up}; exec sleep 1000"
    shell = ["/bin/sh", "-c", text]
    with subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *shell],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=prx.environ,
    ) as terminal:
        wait_for(up)
        terminal.kill()
    beside_it = int(up.read_text())
    deadline = time.monotonic() + 10
    while alive(beside_it):
        assert time.monotonic() < deadline, "the terminal was not closed"
        time.sleep(0.01)
    assert prx.status()["state"] == "connected"
    assert prx("tunnel", "stop").returncode == 0


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.005)
