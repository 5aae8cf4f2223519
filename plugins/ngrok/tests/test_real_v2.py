"""The real agent 2.3.x, the newest that a registry of packages has; it can reach loopback only.

Found by PRX_TUNNEL_TEST_NGROK_V2, or where `.ci/run` installs the package of npm. It asks for more
hosts than the one that it is told (an update service, two for name look-up), so it runs in a
network namespace of its own with nothing but a loopback.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from prx_tunnel_ngrok.connect import connect
from prx_tunnel_ngrok.diagnose import diagnose
from prx_tunnel_ngrok.log import AgentLog
from prx_tunnel_ngrok.reasons import words

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.process import TunnelProcess, open_process

if TYPE_CHECKING:
    from conftest import Recording, StandIn

pytestmark = pytest.mark.anyio

_CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
_PROGRAMS = os.environ.get("PRX_TUNNEL_CI_PROGRAMS") or os.path.join(_CACHE, "prx-tunnel-ci")
_INSTALLED = os.path.join(_PROGRAMS, "ngrok-v2/node_modules/@expo/ngrok-bin-linux-x64/ngrok")
REAL = os.environ.get("PRX_TUNNEL_TEST_NGROK_V2") or _INSTALLED

# `exec`: the agent keeps the process that the test signals.
ALONE = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "-"]
# In its namespace the port is free; this takes it first.
BUSY = (
    "import socket, subprocess, sys\n"
    "listener = socket.create_server(('127.0.0.1', 4040))\n"
    "sys.exit(subprocess.call(sys.argv[1:]))\n"
)
COMMAND = ["http", "3000", "--log", "stdout", "--log-format", "json", "--log-level", "info"]


def missing(reason: str) -> NoReturn:
    if os.environ.get("PRX_TUNNEL_REQUIRE_PROGRAMS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def alone() -> list[str]:
    """The beginning of a command that runs without a network."""
    if not all(map(shutil.which, ("unshare", "ip"))):
        missing("unshare (util-linux) and ip (iproute2) are needed")
    # Proof, before ngrok runs: nothing but loopback is there.
    look = [*ALONE, "ip", "-o", "link"]
    done = subprocess.run(look, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        missing(f"no network namespace can be made here: {done.stderr.strip()}")
    assert re.findall(r"^\d+: ([^:@]+)", done.stdout, re.MULTILINE) == ["lo"]
    return ALONE


@pytest.fixture(scope="module")
def real() -> str:
    if not os.access(REAL, os.X_OK):
        missing(f"{REAL} is missing; see .ci/run, or set PRX_TUNNEL_TEST_NGROK_V2")
    return REAL


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A configuration that names a server where nobody listens."""
    return write(tmp_path / "v2.yml", "web_addr: false")


def write(path: Path, *lines: str) -> Path:
    known = ["authtoken: x", "server_addr: 127.0.0.1:1", "update: false", *lines]
    path.write_text("\n".join(known) + "\n")
    return path


def into(log: AgentLog) -> Callable[[str], None]:
    def read(line: str) -> None:
        log.feed(line)

    return read


def messages(process: TunnelProcess) -> list[str]:
    return [found[1] for line in process.tail if (found := re.search(r'"msg":"([^"]+)"', line))]


def failed_to_dial(line: str) -> str | None:
    return line if "failed to reconnect session" in line else None


async def test_its_version(real: str, alone: list[str]) -> None:
    async with open_process([*alone, real, "version"]) as process:
        assert await process.wait() == 0
    assert [line for line in process.tail if line] == ["ngrok version 2.3.41"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGHUP, -1)]
)
async def test_it_tries_for_ever_until_a_signal_ends_it(
    real: str, alone: list[str], settings: Path, number: signal.Signals, code: int
) -> None:
    log = AgentLog(Target("127.0.0.1", 3000), lambda: 0.0)
    command = [*alone, real, *COMMAND, "--config", str(settings)]
    async with open_process(command, on_line=into(log), stop_signals=[number]) as process:
        await process.first_match(failed_to_dial)
    assert process.returncode == code
    assert not log.connected
    assert "connection refused" in log.error
    if code == 0:
        assert messages(process)[-2:] == ["received stop request", "session closing"]
        assert log.death() == ""


async def test_a_busy_port_for_its_page(
    real: str, alone: list[str], tmp_path: Path, recordings: dict[str, Recording]
) -> None:
    settings = write(tmp_path / "v2.yml", "web_addr: 127.0.0.1:4040")
    log = AgentLog(Target("127.0.0.1", 3000), lambda: 0.0)
    command = [*alone, sys.executable, "-c", BUSY, real, *COMMAND, "--config", str(settings)]
    async with open_process(command, on_line=into(log)) as process:
        code = await process.wait()
    recording = recordings["13-web-port-busy-explicit"]
    assert str(code) == recording.exit
    assert log.death() == "listen tcp 127.0.0.1:4040: bind: address already in use"
    assert messages(process) == ["open config file", "command failed"]


async def test_what_it_says_of_a_missing_file(real: str, alone: list[str], tmp_path: Path) -> None:
    log = AgentLog(Target("127.0.0.1", 3000), lambda: 0.0)
    command = [*alone, real, *COMMAND, "--config", str(tmp_path / "missing.yml")]
    async with open_process(command, on_line=into(log)) as process:
        assert await process.wait() == 1
    assert words(log.death()).startswith("Error reading configuration file")


async def test_our_arguments_are_not_its(real: str, alone: list[str], settings: Path) -> None:
    """Why it has to be recognised: it refuses a flag of version 3 with exit code 0."""
    log = AgentLog(Target("127.0.0.1", 3000), lambda: 0.0)
    command = [*alone, real, *COMMAND, "--config", str(settings), "--url", "https://a.example.com"]
    async with open_process(command, on_line=into(log)) as process:
        assert await process.wait() == 0
    assert log.death() == "Incorrect Usage: flag provided but not defined: -url"


async def test_it_is_recognised_and_explained(
    real: str, alone: list[str], standin: StandIn, target: Target
) -> None:
    wrapper = standin.program  # under its name, and without a network even here
    quoted = " ".join(f"'{word}'" for word in [*alone, real])
    wrapper.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
    with pytest.raises(SetupError) as caught:
        async with connect(standin.config(authtoken="token-token"), target):
            pass
    assert f"{wrapper} is the ngrok agent 2.3.41" in str(caught.value)
    assert "install the ngrok agent, version 3" in str(caught.value)
    checks = {check.name: check for check in await diagnose(standin.config())}
    assert checks["program"].verdict == "fail"
    assert checks["program"].detail == str(caught.value)
