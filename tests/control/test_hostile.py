"""Hostile clients of the control socket, and servers that do not speak its protocol."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
import anyio.abc
import pytest

from prx_tunnel_core._control import client, server
from prx_tunnel_core._control.async_client import NoAnswer, ask
from prx_tunnel_core._control.operations import OPERATIONS, Operation
from prx_tunnel_core._control.server import serve
from support.control import call, served, status_is, tunnel_over
from support.memory import FakeProber, Memory

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("runtime", "descriptors")]


# Clients


@pytest.mark.parametrize(
    ("request_line", "reason"),
    [
        (b"\n", "not JSON"),
        (b"GET / HTTP/1.1\r\n", "not JSON"),
        (b"\xff\xfe\x00\n", "not JSON"),
        (b"[" * 60_000 + b"\n", "not JSON"),
        (b"[1]\n", "not an object"),
        (b'{"op": "status"}\n', "version"),
        (b'{"v": 2, "op": "status"}\n', "restart the tunnel"),
        (b'{"v": true, "op": "status"}\n', "restart the tunnel"),
        (b'{"v": 1.0, "op": "status"}\n', "restart the tunnel"),
        (b'{"v": 1}\n', "operation must be one of"),
        (b'{"v": 1, "op": "restart"}\n', "operation must be one of"),
        (b'{"v": 1, "op": ["stop"]}\n', "operation must be one of"),
        (
            b'{"v": 1, "op": "_tunnel.stop.__call__"}\n',
            "operation must be one of",
        ),
        (b'{"v": 1, "op": "status", "as": "pickle"}\n', "the form must be one of: text, json"),
        (b'{"v": 1, "op": "status", "as": {}}\n', "the form must be one of: text, json"),
        (b"x" * 10_000_000 + b"\n", "incomplete or too long"),
    ],
)
async def test_h12_what_is_no_request_is_refused(
    runtime: Path, request_line: bytes, reason: str
) -> None:
    async with served(), await anyio.connect_unix(runtime / "default.sock") as stream:
        try:
            await stream.send(request_line)
        except anyio.BrokenResourceError:
            assert len(request_line) > 64 * 1024
        received = b""
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            while True:
                received += await stream.receive()
        if len(request_line) <= 64 * 1024:  # else the rest of it may have reset the connection
            assert received.startswith(b"prx-tunnel/1 2\n")
            assert reason.encode() in received
        assert (await call("status")).code == 0


async def test_h11_a_request_of_more_than_64_kib_is_none(runtime: Path) -> None:
    async with served(), await anyio.connect_unix(runtime / "default.sock") as stream:
        request = b'{"v": 1, "op": "status", "more": "' + b"x" * 100_000
        received = b""
        with anyio.fail_after(10), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.send(request + b'"}\n')
            while True:
                received += await stream.receive()
        assert not received.startswith(b"prx-tunnel/1 0\n")
        assert (await call("status")).code == 0


async def test_h11_silence_is_not_waited_for(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DEADLINE", 0.1)
    async with served(), await anyio.connect_unix(runtime / "default.sock") as stream:
        await stream.send(b'{"v": 1, ')
        with anyio.fail_after(10), pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_h11_200_silent_connections_keep_nobody_out(runtime: Path) -> None:
    async with served():
        silent = [socket.socket(socket.AF_UNIX) for _ in range(200)]
        try:
            for number, connection in enumerate(silent):
                connection.setblocking(False)
                connection.connect(str(runtime / "default.sock"))
                if number % 16 == 15:
                    assert (await call("status")).code == 0
            silent[-1].send(b'{"v": 1, "op": "stat')
            assert (await call("health")).code == 0
        finally:
            for connection in silent:
                connection.close()


async def test_h11_who_hangs_up_before_the_answer_harms_nobody(runtime: Path) -> None:
    async with served() as tunnel:
        for request in (b'{"v": 1, "op": "health"}\n', b'{"v": 1, "op": "stop"}\n'):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(runtime / "default.sock"))
                connection.send(request)
        await status_is(tunnel, "Stopped")
        assert (await call("status")).code == 4


AS_NOBODY = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    try:
        connection.send(b'{"v": 1, "op": "stop"}\\n')
        answer = connection.recv(100)
    except ConnectionError:
        answer = b""
    print(answer or "closed without a word")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_h09_another_user_is_not_heard(
    runtime: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with served() as tunnel:
        address = runtime / "default.sock"
        run = partial(anyio.run_process, check=False)
        refused = await run([sys.executable, "-c", AS_NOBODY, str(address)])
        assert b"PermissionError" in refused.stderr
        # Even if file modes let every user connect, the server checks the peer.
        address.chmod(0o666)
        for parent in (runtime, *runtime.parents):
            if parent.stat().st_mode & 0o005 != 0o005:
                parent.chmod(0o755)
        heard = await run([sys.executable, "-c", AS_NOBODY, str(address)])
        assert heard.stdout == b"closed without a word\n"
        assert type(tunnel.status).__name__ == "Connected"


async def accepted_after(
    errors: list[OSError], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> int:
    """How often it was logged that a connection cannot be accepted, for so many errors."""
    accept, left = socket.socket.accept, list(errors)

    def accept_at_last(listener: socket.socket) -> tuple[socket.socket, object]:
        if left:
            raise left.pop()
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", accept_at_last)
    async with served():
        assert (await call("status")).code == 0
    assert not left
    return caplog.text.count("cannot accept a control connection")


async def test_h11_clients_that_are_gone_when_they_are_accepted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [BlockingIOError(), ConnectionAbortedError()]
    assert await accepted_after(errors, monkeypatch, caplog) == 0


async def test_i03_a_want_of_descriptors_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [OSError(errno.EMFILE, "Too many open files") for _ in range(3)]
    assert await accepted_after(errors, monkeypatch, caplog) == 1


async def test_h11_when_all_places_work_another_connection_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    prober = FakeProber()
    async with served(prober=prober), anyio.create_task_group() as tasks:
        prober.takes = 2.0
        for _ in range(2):
            tasks.start_soon(call, "health")
        with anyio.fail_after(10):
            while prober.asked < 1:
                await anyio.sleep(0.01)
        await anyio.sleep(0.1)  # for the second one, which shares the check of the first
        reply = await call("status")
        assert (reply.code, reply.answered) == (4, False)
        assert "before it answered" in reply.text or "cannot be reached" in reply.text


async def test_an_operation_that_raises_harms_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_: object) -> tuple[int, str, dict[str, object]]:
        raise ZeroDivisionError

    monkeypatch.setitem(OPERATIONS, "broken", Operation(handler, "raise"))
    async with served():
        reply = await call("broken")
        assert (reply.code, reply.answered) == (1, False)
        assert "closed the connection before it answered" in reply.text
        assert (await call("status")).code == 0
    assert "a control connection failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


# Servers


Handler: TypeAlias = Callable[[anyio.abc.SocketStream], Awaitable[None]]


@asynccontextmanager
async def served_by(handler: Handler, runtime: Path) -> AsyncIterator[None]:
    """A tunnel whose socket was replaced by another server of this process."""
    async with tunnel_over(Memory()) as tunnel, serve(tunnel):
        (runtime / "default.sock").unlink()
        listener = await anyio.create_unix_listener(runtime / "default.sock")
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, handler)
            yield
            tasks.cancel_scope.cancel()


async def test_h14_another_version_is_not_understood_and_said_so(runtime: Path) -> None:
    async def speak_another_version(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"prx-tunnel/2 0\n{}\n")

    async with served_by(speak_another_version, runtime):
        reply = await call("status")
        assert (reply.code, reply.answered) == (4, False)
        assert f"(process {os.getpid()}) runs another version" in reply.text
        with pytest.raises(NoAnswer):
            await ask("stop")


@pytest.mark.parametrize("before", [b"", b"prx-tunnel/1 wait\n"])
async def test_h13_two_seconds_of_silence_are_borne(runtime: Path, before: bytes) -> None:
    async def say_nothing_more(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            if before:
                await anyio.sleep(1)
                await stream.send(before)
            await anyio.sleep(10)

    async with served_by(say_nothing_more, runtime):
        begun = anyio.current_time()
        reply = await call("status")
        passed = anyio.current_time() - begun - bool(before)
    assert (reply.code, reply.answered) == (4, False)
    assert reply.text.endswith("does not answer; is it suspended?")
    assert 2.0 <= passed < 3.5


async def test_h21_a_process_that_ends_before_it_answers(runtime: Path) -> None:
    async with served_by(lambda stream: stream.aclose(), runtime):
        reply = await call("stop")
        assert (reply.code, reply.answered) == (1, False)
        assert "before it answered" in reply.text or "cannot be reached" in reply.text


@pytest.mark.parametrize(("user", "code"), [(12345, 4), (0, 0)])
async def test_only_this_user_and_root_are_believed(
    monkeypatch: pytest.MonkeyPatch, user: int, code: int
) -> None:
    async with served():
        monkeypatch.setattr(client, "peer_credentials", lambda _: (7, user))
        reply = await call("status")
        assert (reply.code, reply.answered) == (code, code == 0)
        assert reply.answered or reply.text == "tunnel 'default' (process 7) belongs to user 12345"


async def test_a_server_that_never_answers_is_reported_after_two_seconds(runtime: Path) -> None:
    async def be_silent(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with served_by(be_silent, runtime):
        begun = anyio.current_time()
        reply = await call("status")
        assert 2 <= anyio.current_time() - begun < 4
        assert f"(process {os.getpid()}) does not answer; is it suspended?" in reply.text


async def test_a_reply_without_an_end_is_cut(runtime: Path) -> None:
    async def never_end(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b"prx-tunnel/1 0\n")
            with contextlib.suppress(anyio.BrokenResourceError):
                while True:
                    await stream.send(b"x" * 65536)

    async with served_by(never_end, runtime):
        with anyio.fail_after(20):
            reply = await call("status")
        assert 4 << 20 <= len(reply.text) < 5 << 20


def test_on_windows_the_package_imports_and_use_says_what_is_missing() -> None:
    code = """
import os, sys
import anyio, prx_tunnel_core.config, multiprocessing  # which ask for the real name
os.name = "nt"
sys.modules["fcntl"] = None
from prx_tunnel_core._control import runtime_dir
from prx_tunnel_core._control.async_client import ask
from prx_tunnel_core._control.server import serve
try:
    runtime_dir.require_unix()
except Exception as error:
    print(type(error).__name__, error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.startswith("SetupError the control socket"), result.stderr
