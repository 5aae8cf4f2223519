"""The real `tailscale` and `tailscaled`, in a network namespace without a way out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from prx_tunnel_tailscale.config import TailscaleConfig

CONTROL = "127.0.0.1:31544"
PATIENCE = 30.0  # seconds

# Both ends of the pair stay inside: tailscaled waits for a network, and this leads nowhere.
_NETWORK = """
set -e
ip link set lo up
ip link add inside type veth peer name outside
ip addr add 192.0.2.2/24 dev inside
ip link set inside up
ip link set outside up
exec "$@"
"""


def skip(reason: str) -> NoReturn:
    """Skip, or fail where the programs are required."""
    if os.environ.get("PRX_TUNNEL_REQUIRE_PROGRAMS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str) -> str:
    folder = os.environ.get("PRX_TUNNEL_TEST_TAILSCALE_BIN")
    found = shutil.which(name, path=folder)
    if found is None:
        skip(f"{name} is neither in PRX_TUNNEL_TEST_TAILSCALE_BIN nor on PATH")
    return found


class Tailnet:
    """A coordination server and a relay, alone in a network namespace."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def order(self, text: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(text, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n"

    def inside(self, *command: str) -> list[str]:
        """The command, to be run in the namespace."""
        return ["nsenter", f"--net=/proc/{self.process.pid}/ns/net", *command]


@contextmanager
def tailnet() -> Iterator[Tailnet]:
    control = program("prx-test-control")
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        skip("a network namespace needs root, unshare, nsenter and ip")
    process = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", _NETWORK, "sh", control, CONTROL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if ready != "ready\n":
            process.kill()
            skip("this machine allows no network namespace")
        # Whatever else goes wrong: a real tailscaled never gets the real network.
        ours, theirs = (os.stat(f"/proc/{pid}/ns/net").st_ino for pid in ("self", process.pid))
        assert ours != theirs
        yield Tailnet(process)
        process.kill()


class RealNode:
    """One tailscaled with a socket and a state of its own."""

    def __init__(self, net: Tailnet, folder: Path) -> None:
        self.net = net
        self.folder = folder
        self.socket = str(folder / "t.sock")
        self.program = program("tailscale")
        self.daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self.folder / "log", "ab") as log:
            self.daemon = subprocess.Popen(
                self.net.inside(
                    program("tailscaled"),
                    "--tun=userspace-networking",
                    f"--socket={self.socket}",
                    f"--statedir={self.folder}",
                    "--port=0",
                    "--no-logs-no-support",
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait_for(lambda node: node["BackendState"] != "NoState")

    def stop(self, how: str = "terminate") -> int:
        assert self.daemon is not None
        getattr(self.daemon, how)()
        return self.daemon.wait(PATIENCE)

    def log_in(self) -> None:
        self.run("up", f"--login-server=http://{CONTROL}", "--hostname=box", "--timeout=20s")
        self.wait_for(lambda node: node["BackendState"] == "Running")

    def wait_for(self, wanted: Any) -> None:
        """Until the daemon's status is the wanted one: it learns from others, in its own time."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer = self.run("status", "--json", "--peers=false", check=False)
            if answer.returncode == 0 and wanted(json.loads(answer.stdout)):
                return
            time.sleep(0.02)
        raise AssertionError(f"the daemon did not get there: {answer.stdout}{answer.stderr}")

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, f"--socket={self.socket}", *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=check,
        )

    @property
    def served(self) -> dict[str, Any]:
        return dict(json.loads(self.run("funnel", "status", "--json").stdout))

    def config(self, **settings: Any) -> TailscaleConfig:
        return TailscaleConfig(program=self.program, socket=self.socket, **settings)


@contextmanager
def real_node(net: Tailnet, folder: Path) -> Iterator[RealNode]:
    node = RealNode(net, folder)
    node.start()
    try:
        yield node
    finally:
        node.stop()
