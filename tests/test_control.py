"""The control socket, with real sockets, locks and directories, and with clients that mean harm."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
import pytest

from prx_tunnel_core import Check, ConnectError, Stopped, Tunnel
from prx_tunnel_core.control import NoAnswer, NotRunning, ask, client, serve, server
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.health import Prober
from support.memory import FakeProber, Memory
from support.virtual import no_plugins

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "runtime"
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(directory))
    return directory


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    before = len(os.listdir("/dev/fd"))
    yield
    assert len(os.listdir("/dev/fd")) <= before


def tunnel_over(memory: Memory, prober: FakeProber | None = None, **options: Any) -> Tunnel:
    config = {"backend": "memory", "reconnect": {"backoff_base_ms": 60_000}}
    return Tunnel(
        config,
        backend=memory.backend(),
        plugins=no_plugins(),
        prober=cast("Prober", prober or FakeProber()),
        online=lambda: True,
        **options,
    )


@asynccontextmanager
async def served(
    memory: Memory | None = None, prober: FakeProber | None = None, **options: Any
) -> AsyncIterator[Tunnel]:
    """A tunnel that is connected, and can be asked."""
    async with tunnel_over(memory or Memory(), prober) as tunnel, serve(tunnel, **options):
        await tunnel.start()
        yield tunnel


async def call(op: str, form: str = "text", name: str = "default") -> client.Reply:
    return await anyio.to_thread.run_sync(client.call, op, name, form)


async def status_is(tunnel: Tunnel, kind: str) -> None:
    with anyio.fail_after(10):
        while type(tunnel.status).__name__ != kind:
            await anyio.sleep(0.001)


# What is asked, and what is answered


async def test_status_of_a_connected_tunnel() -> None:
    async with served() as tunnel:
        reply = await call("status")
        assert (reply.code, reply.answered) == (0, True)
        lines = reply.text.splitlines()
        assert lines[:3] == [
            "Tunnel: memory (connected)",
            "Public URL: https://agent.example.com",
            "Local: http://localhost:3000",
        ]
        wire = await ask("status")
        assert tunnel.info is not None
        assert wire == {
            "name": "default",
            "state": "connected",
            "info": {
                "public_url": "https://agent.example.com",
                "backend": "memory",
                "local_port": 3000,
                "started_at": tunnel.info.started_at.isoformat(),
            },
            "attempt": 0,
            "drops_last_hour": 0,
            "message": "",
            "pid": os.getpid(),
            "details": {},
        }


async def test_status_while_reconnecting_counts_down() -> None:
    memory = Memory()
    async with served(memory) as tunnel:
        memory.errors.append(ConnectError("still gone"))
        memory.connection.drop("the server\nwent away")
        await status_is(tunnel, "Reconnecting")
        first = await ask("status")
        reply = await call("status")
        assert reply.code == 4
        assert "Tunnel: memory (reconnecting)" in reply.text
        assert "Public URL" not in reply.text
        assert "Last error: the server\n  went away\n" in reply.text
        assert "Next attempt: 1 of 10, in " in reply.text
        assert (await ask("status"))["retry_in"] < first["retry_in"] <= 60


async def test_health_says_what_was_checked_and_exits_with_it() -> None:
    memory, prober = Memory(), FakeProber()
    async with served(memory, prober):
        reply = await call("health")
        assert reply.code == 0
        assert reply.text.startswith("Health: healthy (10 ms)\n")
        prober.local_verdict = Check("local", "fail", "refused")
        assert json.loads((await call("health", "json")).text)["verdict"] == "degraded"
        assert (await call("health")).code == 0
        prober.local_verdict = Check("local", "ok")
        prober.public_verdict = Check("public", "fail", "error 1033")
        reply = await call("health")
        assert reply.code == 4
        assert "public   fail    error 1033" in reply.text


async def test_stop_answers_when_the_tunnel_is_stopped_and_a_host_may_start_it_again() -> None:
    memory = Memory(teardown=0.05)
    async with served(memory) as tunnel:
        reply = await call("stop", "json")
        assert memory.open == []
        assert (reply.code, json.loads(reply.text)["state"]) == (0, "stopped")
        assert (await call("status")).code == 4
        await tunnel.start()
        assert (await call("status")).code == 0


async def test_stop_gives_the_name_back_before_it_answers(runtime: Path) -> None:
    async with served(release_on_stop=True) as tunnel:
        # The answer says that this process is ending, which would be waited for.
        async with await anyio.connect_unix(runtime / "default.sock") as stream:
            await stream.send(b'{"v": 1, "op": "stop"}\n')
            assert await stream.receive() == b"prx-tunnel/1 0 ending\nTunnel default stopped\n"
        assert tunnel.status == Stopped()
        assert os.listdir(runtime) == ["default.lock"]
        async with served():
            assert (await call("status")).code == 0


async def test_who_waits_for_a_stop_hears_of_it_although_the_server_leaves() -> None:
    memory = Memory(teardown=0.2)
    replies: list[client.Reply] = []

    async def stop() -> None:
        replies.append(await call("stop"))

    async with anyio.create_task_group() as tasks, served(memory) as tunnel:
        tasks.start_soon(stop)
        await status_is(tunnel, "Stopped")
    assert [reply.text for reply in replies] == ["Tunnel default stopped\n"]


async def test_a_long_answer_is_told_from_a_frozen_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WORKING", 0.05)
    monkeypatch.setattr(client, "SILENCE", 0.5)
    prober = FakeProber()
    async with served(prober=prober):
        prober.takes = 1.0
        assert (await call("health")).code == 0


async def test_an_observer_is_part_of_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {"webhook": {"last": "registered\x1b[2J"}}
    monkeypatch.setattr(Tunnel, "observer_states", states)
    async with served():
        assert (await ask("status"))["observers"] == states
        assert "webhook: last registered\n" in (await call("status")).text


async def test_asking_for_what_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="'default' is not running"):
        await ask("status")
    assert os.listdir(tmp_path) == []
    with pytest.raises(ConfigError, match=r"tunnel name '\.\./x'"):
        await ask("status", name="../x")


# Who may not be heard, or not for long


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
        (b'{"v": 1}\n', "no operation"),
        (b'{"v": 1, "op": "restart"}\n', "no operation"),
        (b'{"v": 1, "op": ["stop"]}\n', "no operation"),
        (b'{"v": 1, "op": "_tunnel.stop.__call__"}\n', "no operation"),
        (b'{"v": 1, "op": "status", "as": "pickle"}\n', "no form"),
        (b'{"v": 1, "op": "status", "as": {}}\n', "no form"),
        (b"x" * 10_000_000 + b"\n", "no request came"),
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
        # Even where somebody has opened all doors, the server looks at who comes in.
        address.chmod(0o666)
        for parent in (runtime, *runtime.parents):
            if parent.stat().st_mode & 0o005 != 0o005:
                parent.chmod(0o755)
        heard = await run([sys.executable, "-c", AS_NOBODY, str(address)])
        assert heard.stdout == b"closed without a word\n"
        assert type(tunnel.status).__name__ == "Connected"


# The other side of the socket is not what it should be


async def test_h14_another_version_is_not_understood_and_said_so(runtime: Path) -> None:
    async with tunnel_over(Memory()) as tunnel, serve(tunnel):
        (runtime / "default.sock").unlink()
        listener = await anyio.create_unix_listener(runtime / "default.sock")
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, _speaks_another_version)
            reply = await call("status")
            assert (reply.code, reply.answered) == (4, False)
            assert f"(process {os.getpid()}) is run by another version" in reply.text
            with pytest.raises(NoAnswer):
                await ask("stop")
            tasks.cancel_scope.cancel()


async def _speaks_another_version(stream: anyio.abc.SocketStream) -> None:
    async with stream:
        await stream.receive()
        await stream.send(b"prx-tunnel/2 0\n{}\n")


async def test_h21_a_process_that_ends_before_it_answers(runtime: Path) -> None:
    async with tunnel_over(Memory()) as tunnel, serve(tunnel):
        (runtime / "default.sock").unlink()
        listener = await anyio.create_unix_listener(runtime / "default.sock")
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, lambda stream: stream.aclose())
            reply = await call("stop")
            assert (reply.code, reply.answered) == (1, False)
            assert "before it answered" in reply.text or "cannot be reached" in reply.text
            tasks.cancel_scope.cancel()


def test_on_windows_the_package_imports_and_use_says_what_is_missing() -> None:
    code = """
import os, sys
import anyio, prx_tunnel_core.config, multiprocessing  # which ask for the real name
os.name = "nt"
sys.modules["fcntl"] = None
import prx_tunnel_core.control as control
from prx_tunnel_core.control import serve, ask, place
try:
    place.require_unix()
except Exception as error:
    print(type(error).__name__, error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.startswith("SetupError the control socket"), result.stderr
