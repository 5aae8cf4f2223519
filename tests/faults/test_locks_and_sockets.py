"""H: what lies in the runtime directory is looked at, and never believed."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prx_tunnel_core._control import client
from prx_tunnel_core._control.name_lock import AlreadyRunning, NameLock
from support.command import Prx
from support.programs import needs_program


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "runtime"
    directory.mkdir(0o700)
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(directory))
    return directory


def test_h03_the_number_of_a_foreign_process_in_the_file(prx: Prx) -> None:
    """It is neither asked nor signalled, for only a held lock says that a tunnel runs."""
    prx.runtime.mkdir(0o700)
    with subprocess.Popen(["sleep", "1000"]) as innocent:
        (prx.runtime / "default.lock").write_text(f"{innocent.pid}\n")
        for op in ("status", "health", "stop"):
            assert prx("tunnel", op).returncode == 3
        assert prx.detach() != innocent.pid
        assert prx("tunnel", "stop").returncode == 0
        assert innocent.poll() is None
        innocent.kill()


def test_h10_the_socket_is_a_file_and_no_name_for_everybody(prx: Prx) -> None:
    pid = prx.detach()
    inodes = re.findall(r"socket:\[(\d+)\]", " ".join(links(f"/proc/{pid}/fd")))
    rows = [row.split() for row in Path("/proc/net/unix").read_text().splitlines()[1:]]
    listening = [row[7:] for row in rows if row[6] in inodes and row[3] == "00010000"]
    assert listening == [[str(prx.runtime / "default.sock")]]


def links(folder: str) -> Iterator[str]:
    for name in os.listdir(folder):
        yield os.readlink(f"{folder}/{name}")


@pytest.mark.parametrize("content", [b"", b"12", b"\xff\xfe", b"0" * 100_000, b"-1\n", b"1e3"])
def test_h22_a_half_written_file_is_no_state(runtime: Path, content: bytes) -> None:
    file = runtime / "default.lock"
    file.write_bytes(content)
    assert client.call("status", "default").code == 3
    lock = NameLock("default")
    try:
        assert file.read_text() == f"{os.getpid()}\n"
        file.write_bytes(content)  # as on a disk that is full
        with pytest.raises(AlreadyRunning, match="is already running in"):
            NameLock("default")
        assert "cannot be reached" in client.call("status", "default").text
    finally:
        lock.release()


def test_h22_without_room_for_the_number_it_runs(prx: Prx) -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    process = prx.start(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=no_room)
    deadline = time.monotonic() + 30
    while prx("tunnel", "status").returncode != 0:
        assert time.monotonic() < deadline
    assert (prx.runtime / "default.lock").read_text() == ""
    assert prx("tunnel", "start").returncode == 2
    assert prx("tunnel", "stop").returncode == 0
    assert process.wait(30) == 0


def test_h25_an_old_tunnel_and_a_new_command(prx: Prx) -> None:
    """Here the tunnel is the newer one, for the command of tomorrow is not written yet."""
    patch = prx.home / "site" / "sitecustomize.py"
    patch.write_text("import prx_tunnel_core._control.protocol as wire\nwire.VERSION = 2\n")
    pid = prx.detach()
    patch.unlink()
    done = prx("tunnel", "status")
    assert done.returncode != 0
    assert f"process {pid}) runs another version of prx" in done.stderr
    assert "Traceback" not in done.stderr
    os.kill(pid, 15)


def test_h25_who_speaks_another_version_is_told_to_restart(runtime: Path, prx: Prx) -> None:
    prx.detach()
    with socket.socket(socket.AF_UNIX) as newer:
        newer.connect(str(prx.runtime / "default.sock"))
        newer.sendall(b'{"v": 2, "op": "status"}\n')
        answer = newer.makefile().read()
    assert answer.startswith("prx-tunnel/1 2\nthe tunnel runs another version of prx")
    assert "restart the tunnel" in answer


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a PID namespace of its own")
def test_h26_a_tunnel_in_another_pid_namespace(prx: Prx) -> None:
    """As in a container that shares the directory: its numbers mean nothing here."""
    apart = [needs_program("unshare"), "--pid", "--fork", "--kill-child"]
    with subprocess.Popen([*apart, *prx.command("tunnel", "start")], env=prx.environ,
                          stdout=subprocess.PIPE, text=True) as inside:  # fmt: skip
        assert inside.stdout is not None
        for line in inside.stdout:
            if "connected" in line:
                break
        assert (prx.runtime / "default.lock").read_text() == "1\n"
        assert prx("tunnel", "status").returncode == 0
        done = prx("tunnel", "start")
        assert (done.returncode, "already running in process" in done.stderr) == (2, True)
        assert prx("tunnel", "stop").returncode == 0
        assert inside.wait(30) == 0
