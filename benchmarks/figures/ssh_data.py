"""Data through the `ssh` backend, against OpenSSH's own `ssh -R` on the same server."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness.bench import Bench
from benchmarks.harness.environments import OURS
from benchmarks.harness.load import Load
from benchmarks.harness.model import Figure, Mark
from benchmarks.harness.sampling import row

ASYNCSSH = "asyncssh's own forwarder"
CONNECTIONS = (1, 16, 128)
QUICK = (1, 16)
_OPTIONS = ("StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes",
            "KbdInteractiveAuthentication no", "PidFile none", "MaxStartups 500")  # fmt: skip


def measure(bench: Bench) -> Figure:
    title = "`ssh` backend against `ssh -R`, same server: throughput and latency"
    figure = Figure("ssh-data", title)
    sshd = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if sshd is None or shutil.which("ssh") is None:
        figure.notes.append("not measured: OpenSSH is not installed")
        return figure
    with ExitStack() as stack:
        load = stack.enter_context(Load())
        server = stack.enter_context(_sshd(bench, sshd))
        ports = {
            "prx-tunnel": stack.enter_context(_ours(bench, server, load.port, "ours")),
            ASYNCSSH: stack.enter_context(_ours(bench, server, load.port, "raw")),
            "ssh -R": stack.enter_context(_openssh(bench, server, load.port)),
        }
        for connections in QUICK if bench.quick else CONNECTIONS:
            _measure(bench, figure, load, ports, connections)
    figure.rows.sort(key=lambda each: each.unit)
    return figure


def _measure(
    bench: Bench, figure: Figure, load: Load, ports: dict[str, int], connections: int
) -> None:
    seconds = 0.12 if bench.quick else 2.0
    speeds: dict[str, list[float]] = {name: [] for name in ports}
    delays: dict[str, list[float]] = {name: [] for name in ports}
    for _ in range(bench.rounds(2, 3)):
        for name, port in ports.items():
            speeds[name].append(load.throughput(port, connections, seconds))
            delays[name].append(load.latency(port, connections, seconds))
    for name in ports:
        role = "ours" if name == "prx-tunnel" else "floor"
        who = f"{name}, {connections}"
        figure.rows.append(row(who, role, "MiB/s", speeds[name]))  # type: ignore[arg-type]
        figure.rows.append(row(who, role, "ms a request", delays[name], scale=1e3))  # type: ignore[arg-type]
    speed, delay, raw_speed, raw_delay, their_speed, their_delay = (
        each.median for each in figure.rows[-6:]
    )
    slower = (
        f"asyncssh's own forwarder: {raw_speed / their_speed:.2f}; each packet goes through Python"
    )
    later = (
        f"asyncssh's own forwarder: {raw_delay / their_delay:.1f}; each packet goes through Python"
    )
    figure.marks += [
        Mark(
            f"{connections}: throughput, of ssh -R",
            speed / their_speed,
            ">=",
            0.5,
            slower,
            raw_speed / their_speed,
        ),
        Mark(
            f"{connections}: latency, times ssh -R",
            delay / their_delay,
            "<=",
            2,
            later,
            raw_delay / their_delay,
        ),
    ]


class Server:
    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.host_key, self.client_key = (_key(folder / name) for name in ("host", "client"))
        self.known_hosts = folder / "known_hosts"
        public = self.host_key.with_suffix(".pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}")
        self.config = folder / "sshd_config"
        lines = (
            *_OPTIONS,
            f"ListenAddress 127.0.0.1:{self.port}",
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.client_key}.pub",
        )
        self.config.write_text("\n".join(lines) + "\n")


@contextmanager
def _sshd(bench: Bench, program: str) -> Iterator[Server]:
    if os.geteuid() == 0:  # where the service has never run
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    server = Server(bench.folder)
    command = [program, "-D", "-e", "-f", str(server.config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "listening" not in process.stderr.readline():
            if process.poll() is not None:
                raise RuntimeError("sshd does not start")
        try:
            yield server
        finally:
            process.terminate()


@contextmanager
def _ours(bench: Bench, server: Server, target: int, who: str) -> Iterator[int]:
    table = {
        "host": "127.0.0.1",
        "port": server.port,
        "identity_file": str(server.client_key),
        "known_hosts": str(server.known_hosts),
    }
    command = [bench.interpreter(OURS), "-m", __name__, who, json.dumps(table), str(target)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=bench.environment(bench.importable())
    )
    with process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().strip().rpartition(":")[2].rstrip("/"))
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def _openssh(bench: Bench, server: Server, target: int) -> Iterator[int]:
    port = _free_port()
    command = [
        "ssh", "-N", "-F", "none", "-p", str(server.port), "-l", getpass.getuser(),
        "-i", str(server.client_key), "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
        "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={server.known_hosts}",
        "-R", f"127.0.0.1:{port}:127.0.0.1:{target}", "127.0.0.1",
    ]  # fmt: skip
    with subprocess.Popen(command, env=bench.environment()) as process:
        try:
            _await_port(port)
            yield port
        finally:
            process.terminate()


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _free_port() -> int:
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        port: int = any_socket.getsockname()[1]
        return port


def _key(path: Path) -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


async def raw(table: dict[str, Any], target: int) -> None:
    """The floor in Python: asyncssh alone, whose forwarder is not ours."""
    import asyncssh

    async with asyncssh.connect(
        table["host"], table["port"], client_keys=[table["identity_file"]],
        known_hosts=table["known_hosts"], config=None, agent_path=None,
    ) as connection:  # fmt: skip
        listener = await connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", target)
        print(f"http://127.0.0.1:{listener.get_port()}", flush=True)
        await asyncio.Event().wait()


async def ours(table: dict[str, Any], target: int) -> None:
    from prx_tunnel_core import open_tunnel

    config = {"backend": "ssh", "local_port": target, "health_check_url": False}
    async with open_tunnel({**config, "ssh": table}) as tunnel:
        assert tunnel.info is not None
        print(tunnel.info.public_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    forward = ours if sys.argv[1] == "ours" else raw
    asyncio.run(forward(json.loads(sys.argv[2]), int(sys.argv[3])))
