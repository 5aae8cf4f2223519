"""`prx` as its users run it: real processes, a home of their own, a third party's backend."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LAB = Path(__file__).parent / "lab"
PATIENCE = 30.0  # seconds; a good run takes a fraction of one


class Prx:
    """Runs `prx` in a home of its own, and ends whatever is left of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.runtime = home / "runtime"
        self.config = home / "config.toml"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(home / "site"),
            "PRX_TUNNEL_RUNTIME_DIR": str(self.runtime),
            "PRX_CONFIG": str(self.config),
        }
        self._started: list[subprocess.Popen[str]] = []
        self._install_lab()
        self.configure()

    def _install_lab(self) -> None:
        info = self.home / "site" / "prx_tunnel_lab-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: prx-tunnel-lab\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text("[prx_tunnel]\nlab = prx_tunnel_lab\n")
        module = LAB / "prx_tunnel_lab.py"
        (self.home / "site" / module.name).write_text(module.read_text())

    def configure(self, lab: str = "", tunnel: str = "", reconnect: str = "") -> None:
        self.config.write_text(
            "[tunnel]\nbackend = 'lab'\nlocal_port = 3000\nhealth_check_url = false\n"
            f"{tunnel}\n[tunnel.reconnect]\nbackoff_base_ms = 1\nbackoff_max_ms = 10\n{reconnect}\n"
            f"[tunnel.lab]\n{lab}\n"
        )

    def use_port(self, port: int) -> int:
        """Have the configuration name this local port."""
        text = self.config.read_text()
        self.config.write_text(text.replace("local_port = 3000", f"local_port = {port}"))
        return port

    def without_file(self) -> None:
        """Remove the configuration file, and what names it."""
        self.config.unlink()
        del self.environ["PRX_CONFIG"]

    @property
    def log(self) -> Path:
        """The log of the detached tunnel `default`."""
        return self.home / ".local/state/prx-tunnel/log/default.log"

    def command(self, *arguments: str) -> list[str]:
        code = "import sys; from prx_tunnel_core._cli import main; sys.exit(main())"
        return [sys.executable, "-c", code, *arguments]

    def __call__(
        self, *arguments: str, environ: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env={**self.environ, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            **options,
        )

    def shell(
        self, script: str, *arguments: str, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of bash in which `"$@"` is the command."""
        return subprocess.run(
            ["bash", "-c", script, "bash", *self.command(*arguments)],
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """A `prx tunnel start` in the foreground, with its output in pipes."""
        environ = {**self.environ, **options.pop("environ", {})}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen(
            self.command("tunnel", "start", *arguments), env=environ, text=True, **options
        )
        self._started.append(process)
        return process

    def connected(self, *arguments: str) -> subprocess.Popen[str]:
        """A foreground tunnel that has said that it is connected."""
        process = self.start(*arguments)
        lines = until(process, "connected")
        assert any("connected" in line for line in lines), lines
        return process

    def detach(self, *arguments: str) -> int:
        """A detached tunnel; gives its process id."""
        done = self("tunnel", "start", "--detach", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return int(json.loads(done.stdout)["pid"])

    def status(self, name: str = "default") -> dict[str, Any]:
        done = self("tunnel", "status", "--json", "--name", name)
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def left(self) -> list[str]:
        """What stands in the runtime directory."""
        return sorted(os.listdir(self.runtime)) if self.runtime.exists() else []

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        for lock in self.runtime.glob("*.lock"):
            self("tunnel", "stop", "--name", lock.stem)
            with lock.open() as held:
                try:
                    fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:  # so the process of that number is the one that holds it
                    os.kill(int(held.read()), signal.SIGKILL)


def until(process: subprocess.Popen[str], word: str) -> list[str]:
    """The lines of its output up to the one that holds the word."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            break
    return lines


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; fails when that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
