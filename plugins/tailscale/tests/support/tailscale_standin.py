"""The stand-in as tests use it, and the recordings of the real program."""

from __future__ import annotations

import json
import marshal
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prx_tunnel_tailscale.config import TailscaleConfig
from standin_daemon import Daemon, write_state

HERE = Path(__file__).parent
RECORDINGS = HERE.parent / "recordings"
HOST = "box.tail1234.ts.net"
PORTS = "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000"

_RUN = re.compile(
    r"^\$ tailscale (?P<arguments>[^\n]*?)(?: +\[as uid \d+\])?\n(?P<notes>(?:#[^\n]*\n)*)"
    r"--- stdout\n(?P<stdout>.*?)\n--- stderr\n(?P<stderr>.*?)\n"
    r"--- exit=(?P<code>-?\d+)(?P<end>[^\n]*)",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Run:
    """One command of a recording, and what came of it."""

    arguments: list[str]
    stdout: str
    stderr: str
    code: int
    signal: str
    """What the recorder sent it."""

    @property
    def lines(self) -> list[str]:
        return [*self.stdout.splitlines(), *self.stderr.splitlines()]


def recorded(name: str) -> list[Run]:
    text = (RECORDINGS / f"{name}.txt").read_text()
    return [
        Run(
            arguments=match["arguments"].split(),
            stdout=match["stdout"].strip("\n"),
            stderr=match["stderr"].strip("\n"),
            code=int(match["code"]),
            signal=found[0] if (found := re.findall(r"SIG[A-Z]+", match["end"])) else "",
        )
        for match in _RUN.finditer(text)
    ]


def names() -> list[str]:
    return sorted(path.stem for path in RECORDINGS.glob("*.txt"))


class StandIn:
    """A `tailscale` in a folder of its own, with its tailscaled in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "tailscale"
        self.program.write_text(
            f"#!{sys.executable} -SEs\n"
            f"import sys\nsys.path.insert(0, {str(HERE)!r})\n"
            "import standin_program\nstandin_program.main(sys.argv[1:])\n"
        )
        self.program.chmod(0o755)
        state = {
            "calls": [],
            "daemon": "up",
            "version": "1.96.0",
            "status": json.loads(recorded("07-on-status-json")[0].stdout),
            "serve": {},
            "faults": {},
        }
        write_state(str(folder), marshal.dumps(state))

    def config(self, **settings: Any) -> TailscaleConfig:
        return TailscaleConfig(program=str(self.program), **settings)

    @contextmanager
    def edit(self) -> Iterator[dict[str, Any]]:
        """What tailscaled knows; changes are kept."""
        with Daemon(str(self.folder)) as state:
            yield state

    def fault(self, **faults: Any) -> None:
        with self.edit() as state:
            state["faults"] |= {name.replace("_", " "): value for name, value in faults.items()}

    def status(self, **fields: Any) -> None:
        with self.edit() as state:
            state["status"] |= fields

    def own(self, **fields: Any) -> None:
        with self.edit() as state:
            state["status"]["Self"] |= fields

    def allow(self, *capabilities: str) -> None:
        self.own(CapMap=dict.fromkeys(capabilities), Capabilities=list(capabilities))

    def offer_consent(self, how: str) -> None:
        """Nothing is enabled yet; the program waits for it (`wait`) or exits with 0 (`exit`)."""
        self.allow()
        with self.edit() as state:
            state["consent"] = how

    def daemon(self, state: str) -> None:
        """`up`, `absent`, `refused` (killed), `ended` (in order)."""
        with self.edit() as known:
            known["daemon"] = state

    def serve(self, served: dict[str, Any]) -> None:
        with self.edit() as state:
            state["serve"] = served

    def linger(self, served: dict[str, Any], *, times: int) -> None:
        """Tailscaled tells of a session that has ended, so many times."""
        with self.edit() as state:
            state["lingering"] = served
            state["faults"]["lingering"] = times

    def session_pid(self) -> int:
        (session,) = self.served["Foreground"]
        return int((self.folder / f"session-{session}").read_text())

    @property
    def served(self) -> dict[str, Any]:
        """What `funnel status --json` would say."""
        with self.edit() as state:
            return dict(state["serve"])

    @property
    def calls(self) -> list[list[str]]:
        with self.edit() as state:
            return list(state["calls"])

    def changes(self) -> list[list[str]]:
        """The calls that change what is served."""
        return [c for c in self.calls if c[0] in ("funnel", "serve") and c[1] != "status"]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # what a person, or another program, does meanwhile
            [self.program, *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
            check=False,
        )


def web(
    *mounts: str, port: int = 443, target: str = "http://127.0.0.1:3000", funnel: bool = True
) -> dict[str, Any]:
    """What tailscaled keeps for these mounts."""
    key = f"{HOST}:{port}"
    served: dict[str, Any] = {
        "TCP": {str(port): {"HTTPS": True}},
        "Web": {key: {"Handlers": {mount: {"Proxy": target} for mount in mounts}}},
    }
    return served | ({"AllowFunnel": {key: True}} if funnel else {})
