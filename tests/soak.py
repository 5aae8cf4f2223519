"""Random faults on ten tunnels while traffic flows; prints what was lost and how it recovered.

    uv run python tests/soak.py [--minutes N] [--seed S] [--json FILE]

Half of the tunnels run a program (`custom`), half the embedded relay (`ssh`). Every request carries
an id and is answered by the application behind its own tunnel, which says who it is: an answer of
another tunnel, or an id that arrives twice, would be seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.abc
import httpx

sys.path.insert(0, str(Path(__file__).parent))

from prx_tunnel_core import Connected, Tunnel
from prx_tunnel_core.process._reaper import sweep

FORWARDER = Path(__file__).parent / "support/forwarder.py"
TUNNELS = 10
PAUSE = 0.05  # seconds between two requests through one tunnel
RECOVERY = 60.0  # seconds after which a tunnel counts as lost


@dataclass
class Report:
    faults: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    answered: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    duplicated: int = 0
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    lost_tunnels: list[str] = field(default_factory=list)


class App:
    """The application behind one tunnel: answers each request with its own name and the id."""

    def __init__(self, name: str, report: Report) -> None:
        self.name = name
        self.port = 0
        self._report = report
        self._seen: set[str] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            identity = head.split(b" ", 2)[1].decode().removeprefix("/")
            if identity:
                self._report.duplicated += identity in self._seen
                self._seen.add(identity)
            body = f"{self.name} {identity}".encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the tunnel was cut
        finally:
            writer.close()


class Subject:
    """One tunnel, its application and its traffic."""

    def __init__(self, number: int, report: Report) -> None:
        self.name = f"tunnel-{number}"
        self.app = App(self.name, report)
        self._number = number
        self._report = report
        self.last_answer = 0.0
        self.tunnel: Tunnel

    def config(self) -> dict[str, object]:
        common = {
            "local_port": self.app.port,
            "health_check_interval": 1,
            "health_check_failures": 2,
            "reconnect": {"max_attempts": 0, "backoff_base_ms": 100, "backoff_max_ms": 2000},
        }
        if self._number % 2:
            return {"backend": "ssh", **common, "ssh": {"keepalive_interval": 1}}
        command = [sys.executable, "-I", "-S", str(FORWARDER), "127.0.0.1:{port}"]
        custom = {"command": command, "url_pattern": r"forwarding (http://127\.0\.0\.1:\d+)"}
        return {"backend": "custom", **common, "custom": {**custom, "stop_grace": 1}}

    async def live(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        await self.app.open()
        async with Tunnel(self.config(), name=self.name) as self.tunnel:
            await self.tunnel.start()
            task_status.started()
            await self._traffic()

    async def _traffic(self) -> None:
        number = 0
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while True:
                await anyio.sleep(PAUSE)
                info = self.tunnel.info
                if info is None:
                    continue
                number += 1
                await self._request(client, info.public_url, f"{self.name}-{number}")

    async def _request(self, client: httpx.AsyncClient, url: str, identity: str) -> None:
        self._report.sent += 1
        try:
            answer = await client.get(f"{url}/{identity}")
        except httpx.HTTPError:
            self._report.refused += 1
            return
        if answer.text != f"{self.name} {identity}":
            self._report.wrong.append(f"{identity}: {answer.status_code} {answer.text[:80]!r}")
            return
        self._report.answered += 1
        self.last_answer = time.monotonic()

    async def suffer(self, fault: str) -> None:
        """Inject the fault, and note how long it took until a request was answered again."""
        begun = time.monotonic()
        self._report.faults[fault] += 1
        await getattr(self, f"_{fault}")()
        while self.last_answer < begun or not isinstance(self.tunnel.status, Connected):
            await anyio.sleep(0.01)
            if time.monotonic() - begun > RECOVERY:
                self._report.lost_tunnels.append(f"{self.name} after {fault}: {self.tunnel.status}")
                return
        self._report.recoveries.setdefault(fault, []).append(time.monotonic() - begun)

    async def _sever(self) -> None:
        await self.tunnel.abort()

    async def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        await self._wait_for_a_drop()

    async def _freeze(self) -> None:
        self._signal(signal.SIGSTOP)
        await self._wait_for_a_drop()

    async def _app_down(self) -> None:
        await self.app.close()
        await anyio.sleep(random.uniform(0.1, 3))
        await self.app.open()

    async def _restart(self) -> None:
        await self.tunnel.stop()
        await self.tunnel.start()

    async def _restart_in_the_middle(self) -> None:
        await self.tunnel.stop()
        with anyio.move_on_after(random.uniform(0, 0.1)):
            await self.tunnel.start()
        await self.tunnel.start()

    def _signal(self, number: signal.Signals) -> None:
        """To this tunnel's program; a tunnel without one is cut instead."""
        for pid in sweep.running():
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if f"127.0.0.1:{self.app.port}".encode() in file.read().split(b"\0"):
                    os.kill(pid, number)
                    return

    async def _wait_for_a_drop(self) -> None:
        if self._number % 2:
            await self.tunnel.abort()
        with anyio.move_on_after(RECOVERY):
            while isinstance(self.tunnel.status, Connected):
                await anyio.sleep(0.005)


FAULTS = ["sever", "kill", "freeze", "app_down", "restart", "restart_in_the_middle"]


def resources() -> dict[str, int]:
    with open("/proc/self/statm", encoding="ascii") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "programs": len(sweep.running()),
        "resident_kib": resident // 1024,
    }


async def torment(subject: Subject, until: float) -> None:
    while time.monotonic() < until:
        await anyio.sleep(random.expovariate(0.5))
        await subject.suffer(random.choice(FAULTS))


async def soak(minutes: float) -> dict[str, object]:
    report = Report()
    subjects = [Subject(number, report) for number in range(TUNNELS)]
    async with anyio.create_task_group() as lives:
        for subject in subjects:
            await lives.start(subject.live)
        await anyio.sleep(2)
        before = resources()
        async with anyio.create_task_group() as faults:
            for subject in subjects:
                faults.start_soon(torment, subject, time.monotonic() + minutes * 60)
        await anyio.sleep(2)
        after = resources()
        for subject in subjects:
            await subject.app.close()
        lives.cancel_scope.cancel()
    return {
        "minutes": minutes,
        "tunnels": TUNNELS,
        "faults": dict(report.faults),
        "requests": {
            "sent": report.sent,
            "answered": report.answered,
            "lost": report.refused,
            "wrong": report.wrong,
            "duplicated": report.duplicated,
        },
        "recovery_seconds": {name: spread(times) for name, times in report.recoveries.items()},
        "tunnels_lost": report.lost_tunnels,
        "resources": {"start": before, "end": after, "left": sweep.running()},
    }


def spread(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "count": len(ordered),
        "median": round(statistics.median(ordered), 3),
        "p99": round(ordered[int(len(ordered) * 0.99)], 3),
        "max": round(ordered[-1], 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    random.seed(options.seed)
    result = anyio.run(soak, options.minutes)
    text = json.dumps(result, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    requests = result["requests"]
    assert isinstance(requests, dict)
    failed = requests["wrong"] or requests["duplicated"] or result["tunnels_lost"]
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
