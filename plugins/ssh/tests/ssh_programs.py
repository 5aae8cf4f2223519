"""OpenSSH's server and client, and the relay, each as a process of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prx_tunnel_ssh.relay.__main__ import serve
from prx_tunnel_ssh.relay.arguments import parse
from prx_tunnel_ssh.relay.log import Log

from prx_tunnel_core.backend import Target

PATIENCE = 20.0

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def find_program(name: str) -> str:
    """Its path; skips the test without it, or fails where programs are required."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        reason = f"the program {name} is not installed"
        if os.environ.get("PRX_TUNNEL_REQUIRE_PROGRAMS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    command = [find_program("ssh-keygen"), "-q", "-t", kind, "-N", passphrase, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@dataclass
class Program:
    """A process whose lines are read for as long as it lives."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _ended: bool = False

    async def read(self, stream: asyncio.StreamReader) -> None:
        async for raw in stream:
            async with self._news:
                self.lines.append(raw.decode(errors="replace").rstrip())
                self._news.notify_all()
        async with self._news:
            self._ended = True
            self._news.notify_all()

    async def line(self, text: str) -> str:
        """The first line that has the text in it."""

        def found() -> bool:
            return self._ended or any(text in line for line in self.lines)

        async with self._news, asyncio.timeout(PATIENCE):
            await self._news.wait_for(found)
        matches = [line for line in self.lines if text in line]
        assert matches, f"{text!r} never came: {self.lines}"
        return matches[0]

    async def wait(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def tree(self) -> list[int]:
        """The process and its children: sshd has one for each connection, in its own session."""
        found = [self.process.pid]
        for pid in found:
            with suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
                found += map(int, children.split())
        return found

    def signal(self, number: signal.Signals) -> None:
        for pid in self.tree():
            with suppress(ProcessLookupError):
                os.kill(pid, number)


@asynccontextmanager
async def run(command: Sequence[str], **env: str) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **env},
    )
    assert process.stdout is not None
    program = Program(process)
    reading = asyncio.create_task(program.read(process.stdout))
    try:
        yield program
    finally:
        program.signal(signal.SIGKILL)
        await process.wait()
        await asyncio.wait_for(reading, PATIENCE)


class OpenSSHServer:
    """A real sshd of one's own, on a free port of the loopback."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.host_key = make_key(directory / "host_key")
        self.client_key = make_key(directory / "client_key")
        self.known_hosts = directory / "known_hosts"
        self.trust()

    def trust(self) -> None:
        public = self.host_key.with_suffix(".pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}")

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "identity_file": str(self.client_key),
            "known_hosts": str(self.known_hosts),
            **more,
        }

    @asynccontextmanager
    async def serve(self, *options: str) -> AsyncIterator[Program]:
        if os.geteuid() == 0:  # where the service has never run
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        authorized = self.directory / "authorized_keys"
        authorized.write_text(self.client_key.with_suffix(".pub").read_text())
        config = self.directory / "sshd_config"
        lines = [
            *options,
            f"ListenAddress 127.0.0.1:{self.port}",
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {authorized}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            "PidFile none",
            "MaxStartups 500",
        ]
        config.write_text("\n".join(lines) + "\n")
        async with run([find_program("sshd"), "-D", "-e", "-f", str(config)]) as program:
            await program.line("Server listening")
            yield program


class Inside(logging.Handler):
    """What a relay in this process says."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    async def line(self, text: str) -> str:
        async with asyncio.timeout(PATIENCE):
            while not any(text in line for line in self.lines):
                await asyncio.sleep(0.005)
        return next(line for line in self.lines if text in line)


class StandaloneRelay:
    """`python -m prx_tunnel_ssh.relay`, as a process of its own or in this one."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.client_key = make_key(directory / "client_key")
        self.authorized_keys = directory / "authorized_keys"
        self.authorize(self.client_key)
        self.known_hosts = directory / "known_hosts"

    def authorize(self, *keys: Path, options: str = "") -> None:
        lines = [options + key.with_suffix(".pub").read_text() for key in keys]
        self.authorized_keys.write_text("# who may come in\n" + "".join(lines))

    @asynccontextmanager
    async def serve(self, *arguments: str) -> AsyncIterator[Program]:
        command = [sys.executable, "-m", "prx_tunnel_ssh.relay", *self.arguments(*arguments)]
        async with run(command) as program:
            self.trust(await program.line("relay up"))
            yield program

    @asynccontextmanager
    async def here(self, *arguments: str) -> AsyncIterator[Inside]:
        """The same in this process, for tests that are not about processes: it is up at once."""
        inside = Inside()
        logger = logging.getLogger("prx_tunnel_ssh.relay")
        level = logger.level
        logger.setLevel(logging.INFO)
        logger.addHandler(inside)
        try:
            async with serve(parse(self.arguments(*arguments)), Log()):
                self.trust(await inside.line("relay up"))
                yield inside
        finally:
            logger.removeHandler(inside)
            logger.setLevel(level)

    def arguments(self, *more: str) -> list[str]:
        listen = f"127.0.0.1:{self.port}"
        return ["--listen", listen, "--authorized-keys", str(self.authorized_keys), *more]

    def trust(self, up: str) -> None:
        public = up.partition('host_key="')[2].rstrip('"')
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}\n")

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "identity_file": str(self.client_key),
            "known_hosts": str(self.known_hosts),
            **more,
        }

    def ssh(self, *arguments: str, key: Path | None = None) -> list[str]:
        """OpenSSH's client, which nothing is configured for but what stands here."""
        return [
            find_program("ssh"), "-F", "none", "-p", str(self.port), "-l", "someone",
            "-i", str(key or self.client_key), "-o", "IdentitiesOnly=yes",
            "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes",
            "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "ConnectTimeout=10",
            *arguments,
        ]  # fmt: skip


class App:
    """The program behind the tunnel: it answers each request with the body it got."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.target = Target("127.0.0.1", 0)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head)
                lengths = [
                    int(line.partition(b":")[2])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ]
                body = await reader.readexactly(lengths[0] if lengths else 0)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(handle: Handler) -> AsyncIterator[Target]:
    """A program behind the tunnel that treats its visitors so."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield Target("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
