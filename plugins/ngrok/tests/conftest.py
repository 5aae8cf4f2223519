from __future__ import annotations

import json
import os
import socket
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from prx_tunnel_ngrok.config import NgrokConfig

from prx_tunnel_core.backend import Target

HERE = Path(__file__).parent
RECORDINGS = HERE / "recordings"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the ngrok configuration or token of whoever runs it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("NGROK_AUTHTOKEN", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def target() -> Target:
    return Target("127.0.0.1", 3000)


@dataclass
class Run:
    """What one run of the stand-in was given."""

    argv: list[str]
    env: dict[str, str]
    files: dict[str, dict[str, str]]
    pid: int

    @property
    def is_gone(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False


@dataclass
class StandIn:
    """A folder with a program `ngrok` in it that does what is planned."""

    folder: Path
    plan: dict[str, Any] = field(default_factory=dict)
    gates: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "runs").mkdir(parents=True)
        self.program.write_text(
            f"#!{sys.executable} -IS\n"
            f"import sys\nsys.path.insert(0, {str(HERE)!r})\n"
            "from standin.agent import main\nmain(sys.argv[0], sys.argv[1:])\n"
        )
        self.program.chmod(stat.S_IRWXU)
        self.write(version="3.39.1", dialect=3, check=[0, []], runs=[["connect"]], port=0)

    @property
    def program(self) -> Path:
        return self.folder / "ngrok"

    def write(self, **changes: Any) -> StandIn:
        self.plan |= changes
        (self.folder / "plan.json").write_text(json.dumps(self.plan))
        return self

    def does(self, *runs: list[Any]) -> StandIn:
        """The steps of each run; what `gate` and `tell` need is made."""
        for step in (step for run in runs for step in run):
            if step[0] in ("gate", "tell") and step[1] not in self.gates:
                os.mkfifo(self.folder / step[1])
                # Both ends: neither the stand-in nor the test waits when opening it.
                self.gates[step[1]] = os.open(self.folder / step[1], os.O_RDWR | os.O_NONBLOCK)
        return self.write(runs=list(runs))

    def open(self, gate: str) -> None:
        os.write(self.gates[gate], b".")

    async def told(self, name: str) -> None:
        """Wait for the stand-in's word."""
        with anyio.fail_after(20):
            await anyio.wait_readable(self.gates[name])
        os.read(self.gates[name], 1)

    def config(self, **settings: Any) -> NgrokConfig:
        return NgrokConfig.model_validate({"program": str(self.program), **settings})

    def runs(self) -> list[Run]:
        paths = sorted((self.folder / "runs").iterdir(), key=lambda path: int(path.name))
        return [Run(**json.loads(path.read_text())) for path in paths]


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[StandIn]:
    made = StandIn(tmp_path / "bin")
    yield made
    for gate in made.gates.values():
        os.close(gate)


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port on which somebody else listens, the next one being free."""
    while True:
        with socket.socket() as listener, socket.socket() as next_one:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
            try:
                next_one.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            next_one.close()
            listener.listen()
            yield port
            return


@dataclass
class Recording:
    """One run of the real agent 2.3.41: its lines, in order, and its exit code as it was noted."""

    lines: list[str] = field(default_factory=list)
    exit: str = ""


def read_recording(path: Path) -> list[Recording]:
    """The runs in a file: each begins with the command."""
    runs: list[Recording] = []
    for line in path.read_text().splitlines():
        head, mark, text = line.partition("s stdout: ")
        if line.startswith("$ ngrok "):
            runs.append(Recording())
        elif mark and head.strip().startswith("+"):
            runs[-1].lines.append(text)
        elif line.startswith("--- ") and "exit=" in line:
            runs[-1].exit = line.split("exit=")[1].split()[0]
    return runs


@pytest.fixture(scope="session")
def recordings() -> dict[str, Recording]:
    """Each run by the name of its file; of several in a file, `name#1` is the first."""
    found: dict[str, Recording] = {}
    for path in sorted(RECORDINGS.glob("v2agent-*.txt")):
        name = path.stem.removeprefix("v2agent-")
        runs = read_recording(path)
        for number, run in enumerate(runs, 1):
            found[name if len(runs) == 1 else f"{name}#{number}"] = run
    return found
