"""E: what is wrong with this machine's network does not count against the tunnel."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest
import trio.testing

from prx_tunnel_core import Check, Connected, ConnectError, Reconnecting, Target, Tunnel
from prx_tunnel_core._health import Prober
from support.faults import both_loops, script
from support.http_server import OK, free_port, hangs, resets, says, serve
from support.memory import FakeProber, Memory
from support.probing import SHORT, Resolver, a_slow_resolver_blocks_nobody, ask, ask_server
from support.proc import until
from support.virtual import in_memory, virtual

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_proxies")]

NAME = "agent.example.com"


OFFLINE = """
import anyio
from prx_tunnel_core import ConnectError, Reconnecting, Tunnel
from prx_tunnel_core._health import Prober
from support.faults import starting
from support.memory import Memory
from support.tunnel_scenarios import reached

async def main():
    memory = Memory(errors=[ConnectError("no route to host")])
    tunnel = Tunnel({"backend": "memory"}, backend=memory.backend())
    async with starting(tunnel) as statuses:
        print(await reached(statuses, Reconnecting))
    prober = Prober()
    for url in ("https://192.0.2.1", "https://agent.example.com"):
        check, _ = await prober.public(url, connected_for=10_000)
        print(check.verdict)
    await prober.aclose()

anyio.run(main)
"""


def test_e04_without_a_network_nothing_is_the_tunnels_fault() -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-Urn", "true"], check=False).returncode:
        pytest.skip("needs Linux with network namespaces for every user")
    done = subprocess.run(
        [unshare, "-Urn", sys.executable, "-c", OFFLINE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    lost, *verdicts = done.stdout.splitlines() or [done.stderr]
    assert "attempt=0, reason='this machine is offline: no route to host'" in lost
    assert verdicts == ["unknown", "unknown"]


@virtual
async def test_e04_an_hour_offline_burns_no_attempt_and_ends_within_seconds() -> None:
    online = False
    memory = Memory(errors=[ConnectError("unreachable")] * 10_000)
    reconnect = {"max_attempts": 2}
    tunnel = in_memory(memory, online=lambda: online, reconnect=reconnect)
    async with tunnel, anyio.create_task_group() as tasks:
        tasks.start_soon(tunnel.start)
        await anyio.sleep(3600.5)
        assert isinstance(tunnel.status, Reconnecting)
        assert tunnel.status.attempt == 0
        memory.errors.clear()
        online = True
        await anyio.sleep(2)
        assert isinstance(tunnel.status, Connected)


@both_loops
async def test_e05_a_slow_resolver_blocks_nobody(resolver: Resolver) -> None:
    await a_slow_resolver_blocks_nobody(resolver, NAME)
    resolver.gate.set()
    # Its thread was left behind, for nothing can interrupt it.
    await until(lambda: not any("foreign call" in each.name for each in threading.enumerate()))


async def test_e06_a_name_that_is_not_known_yet(resolver: Resolver) -> None:
    resolver.error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert (await ask(f"https://{NAME}", connected_for=5.0)).verdict == "unknown"
    assert resolver.asked == [], "an early look-up makes resolvers remember that there is none"
    assert (await ask(f"https://{NAME}", connected_for=170.0)).verdict == "unknown"
    assert (await ask(f"https://{NAME}", connected_for=190.0)).verdict == "fail"


@virtual
async def test_e06_meanwhile_the_tunnel_is_connected_and_not_verified() -> None:
    prober = FakeProber()
    prober.public_verdict = Check("public", "unknown", "the name does not resolve yet")
    memory = Memory()
    async with in_memory(memory, prober=prober, health_check_interval=10) as tunnel:
        await tunnel.start()
        await anyio.sleep(185)
        assert tunnel.last_health is not None
        assert tunnel.last_health.verdict == "degraded"
        assert (memory.attempts, prober.asked) == (1, 18)
        prober.public_verdict = Check("public", "ok")
        await anyio.sleep(10)
        await trio.testing.wait_all_tasks_blocked()
        assert str(tunnel.last_health.verdict) == "healthy"


async def test_e07_a_connection_into_nowhere_fails_at_the_deadline() -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        begun = anyio.current_time()
        check = await ask(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=SHORT)
        assert check == Check("public", "fail", "no answer within 0.3 s")
        assert anyio.current_time() - begun < 2 * SHORT


async def half_closes(stream: anyio.abc.AnyByteStream) -> None:
    await stream.send_eof()
    await anyio.sleep_forever()


async def test_e08_refused_reset_and_half_closed_fail_at_once() -> None:
    with anyio.fail_after(10):
        refused = await ask(f"http://127.0.0.1:{free_port()}")
        assert refused == Check("public", "fail", "Connection refused")
        assert (await ask_server(resets)).detail == "Connection reset by peer"
        assert (await ask_server(half_closes)).verdict == "fail"


@both_loops
async def test_e09_the_other_address_is_tried(resolver: Resolver) -> None:
    resolver.addresses = ("::1", "127.0.0.1")  # where nothing listens, and where it does
    async with serve(says(OK)) as server:
        with anyio.fail_after(10):
            assert (await ask(f"http://{NAME}:{server.port}")).verdict == "ok"
            assert (await ask(f"tcp://{NAME}:{server.port}")).verdict == "ok"


async def test_e10_localhost_is_given_to_programs_as_an_address(tmp_path: Path) -> None:
    note = tmp_path / "given"
    path = script(tmp_path / "bore", f"#!/bin/sh\necho $1 >{note}\necho at bore.pub:41234\ncat\n")
    custom = {"command": f"{path} {{host}}:{{port}}", "url_pattern": "bore.pub"}
    config = {"backend": "custom", "local_host": "localhost", "custom": custom}
    async with Tunnel({**config, "reconnect": {"enabled": False}}) as tunnel:
        assert tunnel.target == Target("127.0.0.1", 3000)
        await tunnel.start()
    assert note.read_text() == "127.0.0.1:3000\n"


async def test_e11_proxies_are_for_others_than_this_machine(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with serve(hangs) as app:
        assert (await Prober().local(Target("127.0.0.1", app.port))).verdict == "ok"
    assert (await ask_server(says(OK))).verdict == "ok"
    broken = await ask(f"http://{NAME}")
    assert (broken.verdict, broken.detail.split(":")[0]) == (
        "unknown", "through this machine's proxy",
    )  # fmt: skip
    async with serve(says(OK)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert await ask(f"http://{NAME}/x") == Check("public", "ok", "HTTP 200")
    assert proxy.requests[0].startswith(f"GET http://{NAME}/x HTTP/1.1".encode())
