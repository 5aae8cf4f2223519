"""A canary goes through every backend and every failure, and comes out nowhere.

The programs are as hostile as they can be: they tell everybody what they were given, in every
spelling. What a program looks like that connects, and fails later, is in each plugin's own tests.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import sys
import traceback
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from prx_tunnel_core import Connected, Failed, PluginRegistry, Tunnel, TunnelError
from prx_tunnel_core._control.async_client import ask
from prx_tunnel_core._control.server import serve
from prx_tunnel_core._doctor import backend as doctors_backend
from prx_tunnel_core._doctor import examine
from support.command import Prx
from support.probing import without_proxies
from support.virtual import IsolatedTunnel

pytestmark = pytest.mark.anyio

INNER = 'cAnArY"/+0123456789é'
PLAIN = "cAnArY-token-0123456789"
INSIDE = base64.b64encode(INNER.encode()).decode()
TOKEN = base64.b64encode(
    json.dumps({"a": "0" * 32, "t": "6ff42ae2-765d-4adf-8112-31c55c1551ef", "s": INSIDE}).encode()
).decode()
URL = "https://agent.example.com"

Table = dict[str, Any]
TABLES: Mapping[str, Callable[[str], Table]] = {
    "cloudflare": lambda program: {"program": program, "token": TOKEN},
    "ngrok": lambda program: {
        "program": program, "authtoken": PLAIN, "basic_auth": [f"user:{INNER}"],
    },
    "tailscale": lambda program: {"program": program},
    "custom": lambda program: {
        "command": [program], "url_pattern": "your url: (.*)", "env": {"MY_TOKEN": INNER},
    },
    "ssh": lambda program: {"host": "127.0.0.1", "port": 1, "password": INNER,
                            "known_hosts": "insecure-accept-any-host-key"},
}  # fmt: skip
SECRETS = {"cloudflare": [TOKEN, INSIDE], "ngrok": [PLAIN, INNER], "custom": [INNER],
           "ssh": [INNER], "tailscale": []}  # fmt: skip
MODES = ["exit:1", "exit:0", "kill", "hang", f"up:{URL}", "not executable", "missing"]
CASES = [(backend, mode) for backend in TABLES if backend != "ssh" for mode in MODES]
CASES.append(("ssh", "refused"))  # it runs no program


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which every file can be looked at."""
    for name in ("home", "tmp", "bin"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("NGROK_AUTHTOKEN", f"{PLAIN}-of-the-host")
    monkeypatch.setenv("TUNNEL_TOKEN", f"{PLAIN}-of-the-host")
    monkeypatch.setattr(doctors_backend, "online", lambda: True)
    monkeypatch.setattr(doctors_backend, "PATIENCE", 0.2)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "PRX_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    without_proxies(monkeypatch)
    return tmp_path


def install(folder: Path, mode: str) -> str:
    """The leaky program, under a name that a backend can run."""
    program = folder / "bin" / "program"
    if mode == "missing":
        return str(program)
    source = Path(__file__).parent.parent / "support" / "leaky.py"
    program.write_text(f"#!{sys.executable} -IS\n{source.read_text()}")
    program.chmod(0o700 if mode != "not executable" else 0o600)
    Path(f"{program}.mode").write_text(mode)
    return str(program)


def traces(secret: str) -> Iterator[str]:
    raw = secret.encode()
    yield from (secret, urllib.parse.quote(secret, safe=""), json.dumps(secret)[1:-1])
    yield base64.b64encode(raw).decode().rstrip("=")[:-2]
    yield base64.b64encode(b"user:" + raw).decode().rstrip("=")[8:-2]


def assert_clean(text: str, backend: str) -> None:
    for secret in [*SECRETS[backend], f"{PLAIN}-of-the-host"]:
        for trace in traces(secret):
            assert trace not in text, text[max(0, text.index(trace) - 200) :][:400]


def arguments() -> str:
    """Those of every process of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


def files(folder: Path) -> str:
    """What is in each file; a file with a secret that others could read is a leak of its own."""
    texts = []
    for path in folder.rglob("*"):
        if path.is_file() and path.parent.name != "bin":
            private = path.stat().st_mode & 0o077 == 0
            texts.append(f"{path} {'' if private else path.read_text(errors='replace')}")
    return "\n".join(texts)


def told(error: BaseException) -> str:
    """The error as a terminal, a log and a crash reporter show it, with our frames' variables."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in shown.stack if "prx_tunnel" in frame.filename]
    variables = [value for frame in ours for value in (frame.locals or {}).values()]
    return "\n".join([str(error), repr(error), *traceback.format_exception(error), *variables,
                      repr(getattr(error, "tail", ""))])  # fmt: skip


async def seen_of(table: Table, folder: Path) -> list[str]:
    """Start it, look at everything from everywhere, stop it."""
    seen: list[str] = []

    async def start(tunnel: Tunnel) -> None:
        try:
            info = await tunnel.start()
            seen.extend([repr(info), str(info.details)])
        except TunnelError as error:
            seen.append(told(error))

    tunnel = IsolatedTunnel(table, plugins=PluginRegistry())
    async with tunnel, serve(tunnel), anyio.create_task_group() as tasks:
        statuses = tunnel.watch()
        tasks.start_soon(start, tunnel)
        with anyio.move_on_after(0.3):
            async for status in statuses:
                if isinstance(status, Connected | Failed):
                    break
        seen += [arguments(), files(folder)]
        seen += [json.dumps(await ask("status")), json.dumps(await ask("health"))]
        seen += map(repr, (tunnel, tunnel.config, tunnel.status, tunnel.last_health))
        await tunnel.stop()
    return seen


@pytest.mark.parametrize(("backend", "mode"), CASES)
async def test_k03_a_canary_in_every_backend_and_failure(
    machine: Path, backend: str, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    own = {"connect_timeout": 0.5, **TABLES[backend](install(machine, mode))}
    reconnect = {"backoff_base_ms": 1, "backoff_max_ms": 1, "max_attempts": 1}
    table = {"backend": backend, "health_check_url": False, backend: own, "reconnect": reconnect}
    seen = await seen_of(table, machine)
    assert_clean("\n".join([*seen, files(machine), caplog.text, *map(repr, caplog.records)]),
                 backend)  # fmt: skip
    if backend == "custom" and ":" in mode:
        # It did tell, and only the masking keeps it from us.
        assert "using ********** now" in "\n".join([caplog.text, *seen])


@pytest.mark.parametrize("backend", TABLES)
async def test_k07_no_backend_tells_the_doctor(machine: Path, backend: str) -> None:
    file = machine / "config.toml"
    write(file, backend, TABLES[backend](install(machine, "exit:1")))
    checks = [check async for check in examine(file, plugins=PluginRegistry())]
    assert any(check.name == "backend" and check.verdict == "ok" for check in checks)
    assert_clean(repr(checks), backend)


def write(file: Path, backend: str, table: Table) -> None:
    """As TOML; JSON's strings, numbers and arrays are TOML's."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if key != "env"]
    lines += [f"env.{key} = {json.dumps(value)}" for key, value in table.get("env", {}).items()]
    text = "\n".join(lines)
    file.touch(0o600)
    file.write_text(f"[tunnel]\nbackend = '{backend}'\n[tunnel.{backend}]\n{text}\n")


@pytest.mark.parametrize("backend", TABLES)
def test_k03_nothing_in_the_output_and_the_log_of_the_command(machine: Path, backend: str) -> None:
    prx = Prx(machine / "home")
    table = {"connect_timeout": 0.5, **TABLES[backend](install(machine, "exit:1"))}
    write(prx.config, backend, table)
    with prx.config.open("a") as file:
        file.write("[tunnel.reconnect]\nenabled = false\n")
    environ = {"PYTHONASYNCIODEBUG": "1", "TMPDIR": str(machine / "tmp")}
    try:
        done = prx("tunnel", "start", "--detach", "--json", environ=environ)
    finally:
        prx.close()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    log = prx.home / ".local/state/prx-tunnel/log/default.log"
    assert_clean(done.stdout + done.stderr + log.read_text(), backend)
    assert os.listdir(machine / "tmp") == []
