"""Real servers at the far end of a tunnel, on loopback: OpenSSH's and bore's."""

from __future__ import annotations

import fcntl
import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from support.http_server import free_port
from support.proc import alive, until
from support.programs import needs_program

BORE_CONTROL_PORT = 7835  # fixed in bore's source: src/shared.rs, CONTROL_PORT


ServerT = TypeVar("ServerT", bound="Server")


class Server:
    """A server that can be killed, started again, frozen and thawed, with its sessions."""

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        self._command = command
        self._port = port
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Return when it accepts connections."""
        self._spawn()
        await until(self._is_up)

    def kill(self) -> None:
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """As after a power cut of the machine: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _spawn(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._tree():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _tree(self) -> list[int]:
        """It and its descendants: sshd has some for each connection, in sessions of their own."""
        if self._process is None:
            return []
        found = [self._process.pid]
        for pid in found:
            with suppress(OSError):
                text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
                found += [child for child in map(int, text.split()) if alive(child)]
        return found


class OpenSSHServer(Server):
    """An sshd with a host key, an account's key and a configuration of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.host_key = make_key(folder / "host_key")
        self.client_key = make_key(folder / "client_key")
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {_public(self.host_key)}")
        authorized = folder / "authorized_keys"
        authorized.write_text(_public(self.client_key))
        config = folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\n"
            f"HostKey {self.host_key}\n"
            f"AuthorizedKeysFile {authorized}\n"
            "PermitRootLogin prohibit-password\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nStrictModes no\nUsePAM no\nPidFile none\n"
        )
        if os.geteuid() == 0:  # what its service does before it starts sshd
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        # It starts itself anew for each connection, and so wants an absolute path.
        command = [needs_program("sshd"), "-D", "-e", "-f", str(config)]
        super().__init__(command, self.port, folder / "sshd.log")

    def client(self, *arguments: str) -> list[str]:
        """The command of OpenSSH's client for this server, without the user's configuration."""
        options = {
            "BatchMode": "yes",
            "ExitOnForwardFailure": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
        }
        given = [word for pair in options.items() for word in ("-o", "=".join(pair))]
        return [
            needs_program("ssh"), "-F", "none", "-i", str(self.client_key), *given, *arguments,
            "-p", str(self.port), f"{self.user}@127.0.0.1",
        ]  # fmt: skip


def make_key(path: Path) -> Path:
    keygen = needs_program("ssh-keygen")
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def _public(key: Path) -> str:
    return key.with_suffix(".pub").read_text()


@contextmanager
def openssh_server(folder: Path) -> Iterator[OpenSSHServer]:
    needs_program("sshd")
    yield from _killed_at_the_end(OpenSSHServer(folder))


@contextmanager
def bore_server(folder: Path) -> Iterator[Server]:
    """The only one of this machine at a time: its control port cannot be chosen."""
    command = [needs_program("bore"), "server", "--bind-addr", "127.0.0.1"]
    # In one place for every run on this machine, whatever its TMPDIR is.
    lock = Path(f"/tmp/prx-tunnel-tests-{os.geteuid()}-bore.lock")
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield from _killed_at_the_end(Server(command, BORE_CONTROL_PORT, folder / "bore.log"))


def _killed_at_the_end(server: ServerT) -> Iterator[ServerT]:
    try:
        yield server
    finally:
        server.kill()
