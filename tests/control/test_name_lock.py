"""One process serves a name: its lock and its socket, on a real file system."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from prx_tunnel_core import SetupError
from prx_tunnel_core._control import client
from prx_tunnel_core._control.name_lock import AlreadyRunning, NameLock
from prx_tunnel_core._control.server import serve
from support.control import tunnel_over
from support.memory import Memory

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture
def umask() -> Iterator[None]:
    """The most permissive one."""
    before = os.umask(0)
    yield
    os.umask(before)


def status() -> int:
    return client.call("status", "default").code


@pytest.mark.usefixtures("umask")
def test_everything_is_private_whatever_the_umask(runtime: Path) -> None:
    lock = NameLock("default")
    try:
        lock.listen()
        modes = {file.name: stat.S_IMODE(file.lstat().st_mode) for file in runtime.iterdir()}
        assert modes == {"default.lock": 0o600, "default.sock": 0o600}
        assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
        assert os.umask(0) == 0
    finally:
        lock.release()
    assert {file.name: file.stat().st_size for file in runtime.iterdir()} == {"default.lock": 0}


def test_h04_the_second_leaves_the_first_as_it_was(runtime: Path) -> None:
    first = NameLock("default")
    try:
        first.listen()
        before = {file.name: file.lstat() for file in runtime.iterdir()}
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}; stop it with") as caught:
            NameLock("default")
        assert caught.value.pid == os.getpid()
        after = {file.name: file.lstat() for file in runtime.iterdir()}
        assert after == before
        assert first.is_intact()
    finally:
        first.release()
    NameLock("default").release()


def test_two_names_are_independent() -> None:
    first, second = NameLock("default"), NameLock("another.one-2_x")
    first.listen()
    second.listen()
    first.release()
    assert second.is_intact()
    second.release()


def test_h02_what_a_killed_process_left_is_taken_over(runtime: Path) -> None:
    code = (
        "import os, signal; from prx_tunnel_core._control.name_lock import NameLock;"
        "lock = NameLock('default'); lock.listen(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert sorted(os.listdir(runtime)) == ["default.lock", "default.sock"]
    assert (runtime / "default.lock").read_text().strip().isdigit()
    assert status() == 3  # H03: the number in the file is nobody's
    lock = NameLock("default")
    lock.listen()
    assert (runtime / "default.lock").read_text() == f"{os.getpid()}\n"
    lock.release()


@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "fifo"])
def test_h06_what_is_not_ours_is_not_removed(runtime: Path, kind: str) -> None:
    runtime.mkdir(0o700)
    for name in ("default.lock", "default.sock"):
        path = runtime / name
        make(path, kind)
        if (kind, name) == ("file", "default.lock"):
            continue  # an empty lock file is what a stopped tunnel leaves
        before = path.lstat()
        lock = None
        try:
            with pytest.raises(SetupError, match=r"remove"):
                lock = NameLock("default")
                lock.listen()
        finally:
            if lock is not None:
                lock.release()
        assert os.path.samestat(path.lstat(), before)
        path.rmdir() if kind == "directory" else path.unlink()


def make(path: Path, kind: str) -> None:
    match kind:
        case "file":
            path.touch(0o600)
        case "directory":
            path.mkdir()
        case "symlink":
            path.symlink_to(path.parent / "elsewhere")
        case _:
            os.mkfifo(path, 0o600)


def test_h06_a_listener_whose_lock_was_removed_is_not_pushed_out(runtime: Path) -> None:
    first = NameLock("default")
    first.listen()
    (runtime / "default.lock").unlink()
    second = NameLock("default")
    with pytest.raises(AlreadyRunning, match="another process"):
        second.listen()
    second.release()
    assert (runtime / "default.sock").is_socket()
    first.release()


def test_only_the_own_socket_is_removed_at_the_end(runtime: Path) -> None:
    lock = NameLock("default")
    lock.listen()
    (runtime / "default.sock").unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(runtime / "default.sock"))
        lock.release()
        assert (runtime / "default.sock").is_socket()


@pytest.mark.parametrize("length", [60, 103, 104, 108, 400])
def test_h07_a_path_that_no_address_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    deep = tmp_path
    while len(str(deep)) < length:
        deep = deep / ("d" * 50)
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(deep))

    async def main() -> None:
        async with tunnel_over(Memory()) as tunnel, serve(tunnel):
            await tunnel.start()
            assert await anyio.to_thread.run_sync(status) == 0

    anyio.run(main)
    assert os.listdir(deep) == ["default.lock"]


def test_a_client_waits_for_a_tunnel_that_has_only_its_lock_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It releases the lock after the socket: in between, a client finds only the lock."""
    lock, look = NameLock("default"), client._holder

    def look_just_before_the_end(directory: int, name: str) -> tuple[bool, int]:
        try:
            return look(directory, name)
        finally:
            lock.release()

    monkeypatch.setattr(client, "_holder", look_just_before_the_end)
    reply = client.call("stop", "default")
    assert (reply.code, reply.text) == (3, "tunnel 'default' is not running")


def test_a_missing_socket_is_reported_after_half_a_second() -> None:
    lock = NameLock("default")
    begun = time.monotonic()
    try:
        reply = client.call("stop", "default")
    finally:
        lock.release()
    assert 0.5 <= time.monotonic() - begun < 2
    assert (reply.code, reply.answered) == (1, False)
    assert f"(process {os.getpid()}) cannot be reached" in reply.text


def test_a_process_that_accepts_no_more_connections_is_reported_and_not_pushed_out(
    runtime: Path,
) -> None:
    """As one that is suspended, while clients come."""
    runtime.mkdir(0o700)
    with ExitStack() as opened:
        full = opened.enter_context(socket.socket(socket.AF_UNIX))
        full.bind(str(runtime / "default.sock"))
        full.listen(0)
        for _ in range(4):
            waiting = opened.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect_ex(str(runtime / "default.sock"))
        assert client.call("status", "default").text.endswith("does not answer; is it suspended?")
        lock = NameLock("default")
        opened.callback(lock.release)
        with pytest.raises(AlreadyRunning, match="another process"):
            lock.listen()
    assert (runtime / "default.sock").is_socket()


@pytest.mark.parametrize("pidfd", [True, False])
def test_a_stop_returns_when_the_process_has_ended(
    monkeypatch: pytest.MonkeyPatch, pidfd: bool
) -> None:
    process: subprocess.Popen[bytes]
    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        # A child of this process exists until it is reaped, so here nothing but that ends it.
        monkeypatch.setattr(client, "_exists", lambda _: process.poll() is None)
    with subprocess.Popen(["sleep", "0.3"]) as process:
        client._wait_for_end(process.pid)
        assert process.wait(1) == 0
    with subprocess.Popen(["sleep", "30"]) as process:
        begun = time.monotonic()
        client._wait_for_end(process.pid)
        assert 2.0 <= time.monotonic() - begun < 3.5
        process.kill()
    client._wait_for_end(process.pid)


@pytest.mark.anyio
async def test_a_client_that_probes_the_lock_does_not_prevent_a_start(runtime: Path) -> None:
    import fcntl

    NameLock("default").release()
    with (runtime / "default.lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        async with anyio.create_task_group() as tasks:

            async def acquire() -> None:
                (await NameLock.acquire("default")).release()

            tasks.start_soon(acquire)
            await anyio.wait_all_tasks_blocked()
            fcntl.flock(looking, fcntl.LOCK_UN)


def fork(work: Callable[[], None], wait: int) -> int:
    """Run it in a fork, which then lives until the descriptor is readable; its process id."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(tell, b"!")
            os.read(wait, 1)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(tell)
    assert os.read(told, 1) == b"!"
    os.close(told)
    return pid


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_neither_holds_the_name_nor_gives_it_back(runtime: Path) -> None:
    lock = NameLock("default")
    lock.listen()
    wait, end = os.pipe()
    pid = fork(lock.release, wait)
    try:
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
            NameLock("default")
        assert lock.is_intact()
        assert (runtime / "default.sock").exists()
        lock.release()
        again = NameLock("default")  # although the fork still runs
        again.listen()
        again.release()
    finally:
        os.write(end, b"!")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        os.close(wait)
        os.close(end)
