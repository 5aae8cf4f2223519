"""M: what a tunnel may lead to, who is behind it, and what else of ours listens."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from prx_tunnel_core import Tunnel
from prx_tunnel_core._control.server import serve
from prx_tunnel_core._health.local_port import Listener, listeners
from prx_tunnel_core.config import SENSITIVE_PORTS, TunnelConfig, validate
from prx_tunnel_core.errors import ConfigError
from support.command import Prx, until
from support.faults import of_plugin
from support.proc import children, parent, program
from support.virtual import IsolatedTunnel

pytestmark = pytest.mark.anyio

NGROK_TESTS = str(Path(__file__).parents[2] / "plugins" / "ngrok" / "tests")


CATALOGUE = {22, 2375, 2379, 3306, 3389, 4040, 5432, 5900, 6379, 6443, 8001, 9200, 9229, 10250,
             11211, 11434, 27017}  # fmt: skip


@pytest.mark.parametrize("port", sorted({1, 80, 443, 1023} | CATALOGUE | SENSITIVE_PORTS))
def test_m01_a_port_of_services_that_must_not_be_public(port: int) -> None:
    with pytest.raises(ConfigError, match=f"local_port {port} is a port of services that must not"):
        validate(TunnelConfig, {"local_port": port}, path="tunnel")
    allowed = {"local_port": port, "allow_sensitive_port": True}
    assert validate(TunnelConfig, allowed, path="tunnel").local_port == port


def test_m01_the_command_refuses_too_and_names_the_way(prx: Prx) -> None:
    done = prx("tunnel", "start", "--port", "6379")
    assert (done.returncode, done.stdout) == (2, "")
    assert "set allow_sensitive_port = true if this is intended" in done.stderr
    prx.configure(tunnel="allow_sensitive_port = true")
    process = prx.start("--port", "6379")
    assert (
        "this is PUBLIC: anyone with the URL can reach localhost:6379"
        in until(process, "PUBLIC")[-1]
    )


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "10.0.0.1", "192.168.1.1", "0.0.0.0", "::", "example.com", "2130706433",
     "127.0.0.1.evil.test", "::ffff:10.0.0.1", "fe80::1", "", "[::1]", "127.1"],
)  # fmt: skip
def test_m02_a_target_that_is_not_this_machine(host: str) -> None:
    with pytest.raises(ConfigError, match=r"tunnel\.local_host: a tunnel forwards to this machine"):
        validate(TunnelConfig, {"local_host": host}, path="tunnel")


ANOTHER_USER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_m03_another_user_behind_the_port(prx: Prx) -> None:
    command = [sys.executable, "-c", ANOTHER_USER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as theirs:
        assert theirs.stdout is not None
        port = theirs.stdout.readline().strip()
        said = f"127.0.0.1 port {port} belongs to another user (uid 65534)"
        said += "; make sure that it is your app"
        assert f"?     local port       {said}" in prx("tunnel", "doctor", "--port", port).stdout
        prx.configure(lab="steps = ['setup enough']")
        assert f"[WARN] {said}\n" in prx("tunnel", "start", "--port", port).stderr
        theirs.communicate("")
    assert "nothing listens" in prx("tunnel", "start", "--port", port).stderr


def test_m03_who_answers_for_which_address() -> None:
    with socket.socket() as bound, socket.socket(socket.AF_INET6) as other:
        bound.bind(("127.0.0.2", 0))
        bound.listen()
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::", 0))
        other.listen()
        ports = bound.getsockname()[1], other.getsockname()[1]
        v4, v6 = (next(each for each in listeners() if each.port == port) for port in ports)
    assert (str(v4.address), v4.uid, str(v6.address)) == ("127.0.0.2", os.geteuid(), "::")
    hosts = ("127.0.0.2", "127.0.0.1", "::1")
    assert [v4.answers(host) for host in hosts] == [True, False, False]
    assert [v6.answers(host) for host in hosts] == [True, True, True]


# M04: the programs are stand-ins, and listen where the arguments that they are given say


def cloudflare(folder: Path) -> dict[str, Any]:
    stand_in = of_plugin("cloudflare", "cloudflare_kit.installed").StandIn(folder / "bin")
    return {"program": str(stand_in.program)}


def ngrok(folder: Path) -> dict[str, Any]:
    (folder / "runs").mkdir()
    plan = {"version": "3.39.1", "dialect": 3, "check": [0, []], "runs": [["connect"]], "port": 0}
    (folder / "plan.json").write_text(json.dumps(plan))
    path = folder / "ngrok"
    path.write_text(
        f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {NGROK_TESTS!r})\n"
        "from standin.agent import main\nmain(sys.argv[0], sys.argv[1:])\n"
    )
    path.chmod(stat.S_IRWXU)
    return {"program": str(path), "authtoken": "token-token"}


def tailscale(folder: Path) -> dict[str, Any]:
    kit = of_plugin("tailscale", "tailscale_standin", folder="tests/support")
    return {"program": str(kit.StandIn(folder).program)}


def custom(folder: Path) -> dict[str, Any]:
    command = program("print:up at https://a.example.com", "hang")
    return {"command": command, "url_pattern": "up at (.*)"}


BACKENDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "cloudflare": cloudflare, "ngrok": ngrok, "tailscale": tailscale, "custom": custom,
    "ssh": lambda _: {},  # the embedded relay
}  # fmt: skip


@asynccontextmanager
async def connected(backend: str, folder: Path) -> AsyncIterator[Tunnel]:
    table = {"backend": backend, "local_port": 9999, "health_check_url": False,
             backend: BACKENDS[backend](folder)}  # fmt: skip
    tunnel = IsolatedTunnel(table)
    async with tunnel, serve(tunnel):
        await tunnel.start()
        await tunnel.health_check()
        yield tunnel


def ours() -> list[Listener]:
    """The listening sockets of this process and of all that it has started."""
    pids, inodes = {os.getpid()} | children(), set()
    running = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    for pid in sorted(running):
        if parent(pid) in pids:
            pids.add(pid)
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            inodes.add(link(descriptor))
    return [each for each in listeners() if f"socket:[{each.inode}]" in inodes]


def link(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except OSError:
        return ""


@pytest.mark.parametrize(("backend", "ports"), [("cloudflare", 1), ("ngrok", 1), ("tailscale", 0),
                                               ("custom", 0), ("ssh", 2)])  # fmt: skip
async def test_m04_nothing_of_ours_listens_beyond_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, ports: int
) -> None:
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("HOME", str(tmp_path))
    before = set(ours())
    async with connected(backend, tmp_path):
        found = set(ours()) - before
    assert len(found) == ports  # so it is looked at what there is to see
    assert all(each.address.is_loopback for each in found), found
