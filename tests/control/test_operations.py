"""What each operation answers, and what an entry of the table gives a new one."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from prx_tunnel_core import (
    Check,
    ConnectError,
    Stopped,
    Tunnel,
)
from prx_tunnel_core._cli import main, query
from prx_tunnel_core._control import client
from prx_tunnel_core._control.async_client import NotRunning, ask
from prx_tunnel_core._control.operations import OPERATIONS, Operation, ServedTunnel
from prx_tunnel_core.errors import ConfigError
from support.control import call, served, status_is
from support.memory import FakeProber, Memory

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("runtime", "descriptors")]


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


async def test_a_client_gets_the_answer_to_its_stop_although_the_server_ends() -> None:
    memory = Memory(teardown=0.2)
    replies: list[client.Reply] = []

    async def stop() -> None:
        replies.append(await call("stop"))

    async with anyio.create_task_group() as tasks, served(memory) as tunnel:
        tasks.start_soon(stop)
        await status_is(tunnel, "Stopped")
    assert [reply.text for reply in replies] == ["Tunnel default stopped\n"]


async def test_an_operation_may_take_longer_than_a_client_bears_silence() -> None:
    prober = FakeProber()
    async with served(prober=prober):
        prober.takes = 2.5
        assert (await call("health")).code == 0


async def test_an_observer_is_part_of_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {"webhook": {"last": "registered\x1b[2J"}}
    monkeypatch.setattr(Tunnel, "observer_states", states)
    async with served():
        assert (await ask("status"))["observers"] == states
        assert "webhook: last registered\n" in (await call("status")).text


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_each_operation_is_in_the_table_of_commands(page: str) -> None:
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    (commands,) = re.findall(r"^\| `prx tunnel (status`.+?) `\[--name", text, re.MULTILINE)
    assert set(re.findall(r"([a-z]+)`", commands)) == set(OPERATIONS)


@pytest.mark.usefixtures("operation_example")
async def test_an_entry_of_the_table_is_a_whole_operation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The server, the client, the subcommand and its help derive from it."""

    async def prx(*arguments: str) -> tuple[int, str]:
        code = await anyio.to_thread.run_sync(main, ["tunnel", "example", *arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    assert await prx() == (3, "prx: tunnel 'default' is not running\n")
    async with served():
        assert await prx() == (0, "https://agent.example.com\n")
        assert await prx("--json") == (0, '{"url": "https://agent.example.com"}\n')
    code, printed = await prx("--help")
    assert (code, "\nPrint the URL.\n" in printed) == (0, True)
    not_running, negative = query.exit_codes().splitlines()
    assert not_running.endswith(", example)")
    assert negative.endswith(", no URL (example)")


@pytest.fixture
def operation_example(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(served: ServedTunnel) -> tuple[int, str, dict[str, object]]:
        assert served.tunnel.info is not None
        url = served.tunnel.info.public_url
        return 0, f"{url}\n", {"url": url}

    monkeypatch.setitem(
        OPERATIONS, "example", Operation(handler, "print the URL", negative="no URL")
    )


async def test_asking_for_what_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="'default' is not running"):
        await ask("status")
    assert os.listdir(tmp_path) == []
    with pytest.raises(ConfigError, match=r"tunnel name '\.\./x'"):
        await ask("status", name="../x")
