"""S01 on real servers: each spelling goes over a socket to each framework behind each server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from webhook_kit.applications import APPS, HANDLED, MOUNT, PATH, SECRET, path_in
from webhook_kit.signing import sign_github
from webhook_kit.spellings import SPELLINGS, WITHIN

pytestmark = pytest.mark.timeout(300)

HERE = Path(__file__).parent
APP = "webhook_kit.applications:app"
PATIENCE = 30.0  # seconds
SERVERS = {
    "uvicorn": ["uvicorn", APP, "--port", "{port}", "--ws", "none"],
    "uvicorn below /api": [
        "uvicorn",
        APP,
        "--port",
        "{port}",
        "--root-path",
        "/api",
        "--ws",
        "none",
    ],
    "hypercorn": ["hypercorn", APP, "--bind", "127.0.0.1:{port}"],
    "hypercorn below /api": ["hypercorn", APP, "--bind", "127.0.0.1:{port}", "--root-path", "/api"],
    "granian": ["granian", APP, "--interface", "asgi", "--port", "{port}"],
}


@contextmanager
def serving(name: str, log: Path) -> Iterator[tuple[int, int]]:
    """The port of a server with all the applications, and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [word.replace("{port}", str(port)) for word in SERVERS[name]]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=HERE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE)},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield port, process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # granian has workers
        process.wait()


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    with serving(request.param, tmp_path_factory.mktemp("server") / "log") as (port, _):
        yield port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def visit(port: int, target: str, name: str, guard: str, headers: str = "") -> bytes:
    """All that the server answers."""
    head = (
        f"GET {target} HTTP/1.1\r\nHost: agent.example.com\r\nConnection: close\r\n"
        f"X-App: {name}\r\nX-Guard: {guard}\r\n{headers}\r\n"
    )
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())
        while piece := connection.recv(65_536):
            answer += piece
    return answer


def read_as_the_route(port: int, name: str, guard: str) -> list[str]:
    spellings = [*(each.format(path_in(name)) for each in SPELLINGS), *WITHIN]
    answers = {spelling: visit(port, spelling, name, guard) for spelling in spellings}
    assert all(answers.values())
    return [spelling for spelling, answer in answers.items() if HANDLED.encode() in answer]


@pytest.mark.parametrize("name", APPS)
def test_s01_no_spelling_leads_past_a_guard(server: int, name: str) -> None:
    assert read_as_the_route(server, name, "none")
    assert read_as_the_route(server, name, "verified") == []
    assert read_as_the_route(server, name, "admitted") == []


@pytest.mark.parametrize("name", APPS)
def test_what_is_signed_is_handled(server: int, name: str) -> None:
    # Servers differ in whether they put their root path in front, or cut it off. Each request is a
    # delivery of its own: one that verified, and then met no route, would make the next a repeat.
    answers = []
    for target in (path_in(name), PATH, f"{MOUNT}{path_in(name)}"):
        signed = sign_github(b"", SECRET) | {"X-GitHub-Delivery": f"{name} {target}"}
        lines = "".join(f"{header}: {value}\r\n" for header, value in signed.items())
        answers.append(visit(server, target, name, "verified", lines))
    assert any(HANDLED.encode() in answer for answer in answers)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "headers",
    ["", f"X-Hub-Signature-256: sha256={'0' * 64}\r\nX-GitHub-Delivery: 1\r\n"],
    ids=["unsigned", "well formed"],
)
def test_s04_bodies_of_strangers_do_not_fill_the_memory(headers: str, tmp_path: Path) -> None:
    """600 that are not finished, of nearly 1 MiB each: 600 MB where they are kept."""
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: agent.example.com\r\nX-App: starlette\r\n"
        f"X-Guard: verified\r\nContent-Length: 1048000\r\n{headers}\r\n"
    )
    with serving("uvicorn", tmp_path / "log") as (port, pid), ExitStack() as stack:
        assert b" 401 " in visit(port, PATH, "starlette", "verified")  # all is imported
        before = resident(pid)
        for _ in range(600):
            stranger = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            with suppress(ConnectionError):  # turned away in the middle
                stranger.sendall(head.encode() + b"x" * 1_000_000)
        assert b" 401 " in visit(port, PATH, "starlette", "verified")
        assert resident(pid) - before < 150_000


def resident(pid: int) -> int:
    """The memory of a process, in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
