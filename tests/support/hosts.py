"""Host applications in processes of their own, with a real tunnel: the relay inside the process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.http_server import free_port
from support.proc import parent

APPS = Path(__file__).parent.parent / "hosts" / "apps"
PATIENCE = 30.0  # seconds; a good run takes a fraction of that
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, **headers: str) -> dict[str, Any]:
    """The JSON that a GET gives; `_` in a header's name stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with _OPENER.open(urllib.request.Request(url, headers=named), timeout=PATIENCE) as answer:
        body: dict[str, Any] = json.loads(answer.read())
        return body


def status_of(url: str, **headers: str) -> int:
    try:
        get(url, **headers)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    return 200


class Host:
    """A server process; `where` is the folder with everything that is its own."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(where),
            "PYTHONPATH": str(APPS),
            "PRX_TUNNEL_RUNTIME_DIR": str(where / "run"),
            "PRX_CONFIG": str(where / "config.toml"),
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
        }
        self.log = where / "log"
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str, **environ: str) -> subprocess.Popen[bytes]:
        """Run `python -m …` with its output in the log."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env={**self.environ, **environ},
                cwd=self.where,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def prx(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "prx_tunnel_core", *arguments],
            env=self.environ, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    def public_url(self) -> str:
        """Once the application itself says that it is reachable from outside."""
        said: str | None = None

        def connected() -> bool:
            nonlocal said
            said = self.ask()["url"]
            return said is not None

        self.until(connected)
        assert said is not None
        return said

    def ask(self, path: str = "", **headers: str) -> dict[str, Any]:
        """What the application answers to a client of this machine, once it listens."""
        answer: dict[str, Any] = {}

        def answered() -> bool:
            nonlocal answer
            try:
                answer = get(self.url + path, **headers)
            except (urllib.error.URLError, ConnectionError):
                return False
            return True

        self.until(answered)
        return answer

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def refuses(url: str) -> bool:
    """Whether nobody listens any more where the URL leads."""
    port = int(url.rstrip("/").rpartition(":")[2])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def children_of(pid: int) -> Sequence[int]:
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [each for each in pids if parent(each) == pid]
