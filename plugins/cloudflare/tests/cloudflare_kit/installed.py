"""The stand-in, installed under the program's name, as a test sees it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

TESTS = Path(__file__).parent.parent


@dataclass
class Seen:
    """What one run of the stand-in was given."""

    argv: list[str]
    env: dict[str, str]
    config: str
    pid: int


class Gate:
    """A place where the stand-in waits for the test."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        os.mkfifo(path)

    async def reached(self) -> None:
        """Return when the stand-in has come there; it waits from then on."""
        open_it = partial(os.open, self._path, os.O_WRONLY)
        self._fd = await anyio.to_thread.run_sync(open_it, abandon_on_cancel=True)

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def close(self) -> None:
        """Let go of a thread that still waits for a stand-in which never came."""
        self.release()
        os.close(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK))


class StandIn:
    """A folder with a program `cloudflared` in it, and plans for its next runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gates: list[Gate] = []
        folder.mkdir()
        self.program = folder / "cloudflared"
        self.program.write_text(
            f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(TESTS)!r})\n"
            "from cloudflare_kit.stand_in.program import main\n"
            f"main({str(folder)!r})\n"
        )
        self.program.chmod(0o755)
        self.plan({})

    def plan(self, *plans: Mapping[str, Any]) -> None:
        """What each next run does; the last plan is for all that follow."""
        (self.folder / "plans.json").write_text(json.dumps(plans))

    def gate(self, name: str) -> Gate:
        gate = Gate(self.folder / f"{name}.gate")
        self.gates.append(gate)
        return gate

    @property
    def runs(self) -> list[Seen]:
        paths = sorted(self.folder.glob("run-*.json"), key=lambda path: int(path.stem[4:]))
        return [Seen(**json.loads(path.read_text())) for path in paths]

    def log(self, number: int = 0) -> list[str]:
        """What that run noted: requests to it, signals, its exit."""
        path = self.folder / f"run-{number}.log"
        return path.read_text().splitlines() if path.exists() else []

    def close(self) -> None:
        for gate in self.gates:
            gate.close()


async def order(metrics_url: str, what: str, body: str = "") -> None:
    """Tell the stand-in behind that metrics server to do something; return when it is done."""
    port = int(metrics_url.rpartition(":")[2])
    text = body.encode()
    head = f"POST /control/{what} HTTP/1.0\r\nContent-Length: {len(text)}\r\n\r\n".encode()
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(head + text)
        async for _ in stream:
            pass
