"""The checks of the selected backend, and the rows of the troubleshooting table."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from prx_tunnel_core import Check, Connected, PluginRegistry, Reconnecting
from prx_tunnel_core._control.server import serve
from prx_tunnel_core._doctor import backend as doctors_backend
from prx_tunnel_core._doctor.tunnel import MANY_DROPS
from support.doctor import PROBE, SECRET, WITH_SECRET, found, only
from support.memory import FakeProber, Memory
from support.probing import full_backlog, without_proxies
from support.virtual import IsolatedTunnel, no_plugins

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is online, whoever runs the tests, with nothing of theirs on it."""
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(doctors_backend, "online", lambda: True)
    without_proxies(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.touch(0o600)
    return path


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody else can take meanwhile, and that refuses connections."""
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


# The troubleshooting table of the documentation: a symptom, its cause, its fix


async def program_is_missing(file: Path, _: int) -> tuple[str, str]:
    checks = await found(file, program="no-such-program", install_hint="brew install tunnel")
    return only(checks, "program")


async def firewall_blocks_the_way_out(file: Path, port: int) -> tuple[str, str]:
    checks = await found(file, servers=lambda _: [f"127.0.0.1:{port}"])
    return only(checks, f"outbound {port}")


async def ports_do_not_match(file: Path, _: int) -> tuple[str, str]:
    text = f"[gateway]\nport = 8080\n{PROBE}local_port = 3000\n"
    return only(await found(file, text), "configuration")


async def network_is_unstable(file: Path, _: int) -> tuple[str, str]:
    memory = Memory()
    reconnect = {"backoff_base_ms": 1, "backoff_max_ms": 1, "max_attempts": 0}
    table = {"backend": "memory", "reconnect": reconnect}
    tunnel = IsolatedTunnel(
        table, backend=memory.backend(), plugins=no_plugins(), prober=FakeProber()
    )
    async with tunnel, serve(tunnel):
        await tunnel.start()
        statuses = tunnel.watch()
        assert isinstance(await anext(statuses), Connected)
        for _ in range(MANY_DROPS):
            memory.connection.drop("the network is gone")
            assert [type(await anext(statuses)).__name__ for _ in range(3)] == [
                Reconnecting.__name__, "Connecting", Connected.__name__,
            ]  # fmt: skip
        return only(await found(file), "reconnects")


TROUBLES: list[tuple[Callable[[Path, int], Awaitable[tuple[str, str]]], str]] = [
    (program_is_missing, "brew install tunnel"),
    (firewall_blocks_the_way_out, "allow outgoing connections to port {port}"),
    (ports_do_not_match, "make them equal or remove tunnel.local_port"),
    (network_is_unstable, "raise tunnel.reconnect.backoff_max_ms (now 60000)"),
]


@pytest.mark.parametrize(("trouble", "fix"), TROUBLES)
async def test_every_row_of_the_troubleshooting_table(
    file: Path,
    closed_port: int,
    trouble: Callable[[Path, int], Awaitable[tuple[str, str]]],
    fix: str,
) -> None:
    verdict, detail = await trouble(file, closed_port)
    assert verdict == "fail"
    assert fix.format(port=closed_port) in detail


async def test_a_server_that_can_be_reached(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        checks = await found(file, servers=lambda _: iter([f"127.0.0.1:{port}"]))
    assert only(checks, f"outbound {port}") == ("ok", f"127.0.0.1:{port}")


async def test_a_firewall_that_drops_is_waited_for_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctors_backend, "PATIENCE", 0.2)
    with full_backlog() as port, full_backlog() as other, anyio.fail_after(10):
        servers = [f"127.0.0.1:{port}", f"127.0.0.1:{other}"]
        begun = anyio.current_time()
        checks = await found(file, servers=lambda _: servers * 10)
        assert anyio.current_time() - begun < 10 * 0.2  # all at the same time
    fix = f"allow outgoing connections to port {port}"
    detail = f"127.0.0.1:{port}: no answer within 0.2 s; {fix}"
    assert only(checks, f"outbound {port}") == ("fail", detail)


async def test_a_time_out_of_the_kernel_is_told_as_its_own(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(*_: object) -> None:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    monkeypatch.setattr(anyio, "connect_tcp", connect)
    _, detail = only(await found(file, servers=lambda _: ["127.0.0.1:80"]), "outbound 80")
    assert detail.startswith("127.0.0.1:80: Connection timed out; ")


async def test_behind_a_proxy_only_the_program_knows(
    file: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:password@127.0.0.1:1")
    checks = await found(file, servers=lambda _: [f"127.0.0.1:{closed_port}"])
    verdict, detail = only(checks, f"outbound {closed_port}")
    assert verdict == "unknown"
    assert detail.endswith("Connection refused, without the proxy in HTTPS_PROXY")


async def test_a_name_that_does_not_resolve_is_no_firewall(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_name(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    verdict, detail = only(await found(file, servers=lambda _: ["a.example:443"]), "outbound 443")
    assert verdict == "fail"
    assert detail.endswith("is the name right, and does this machine's DNS work?")


@pytest.mark.parametrize("server", ["localhost", ":80", "host:", "host:http", "", "host:99999"])
async def test_a_server_that_is_none(file: Path, server: str) -> None:
    checks = await found(file, servers=lambda _: [server])
    (check,) = (each for name in checks if name.startswith("outbound") for each in checks[name])
    assert check.verdict in ("unknown", "fail")
    assert server in check.detail


async def test_no_route_is_said_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctors_backend, "online", lambda: False)
    checks = await found(file, servers=lambda _: ["127.0.0.1:1"])
    assert only(checks, "network") == ("fail", "this machine has no route to other networks")
    assert not any(name.startswith("outbound") for name in checks)


async def diagnosis_of(file: Path, diagnose: Any) -> dict[str, list[Check]]:
    return await found(file, WITH_SECRET, diagnose=diagnose)


async def test_the_backends_own_word_takes_the_place_of_ours(file: Path) -> None:
    async def diagnose(_: object) -> Iterator[Check]:
        return iter([Check("program", "ok", "version 7"), Check("token", "fail", "an id")])

    checks = await found(file, diagnose=diagnose, program="no-such-program")
    assert only(checks, "program") == ("ok", "version 7")
    assert only(checks, "token") == ("fail", "an id")


async def test_no_secret_is_shown_whatever_the_backend_says(file: Path) -> None:
    async def diagnose(config: Any) -> list[Check]:
        token = config.token.get_secret_value()
        return [Check(f"token {token}", "fail", f"{token} is not valid")]

    async def break_down(config: Any) -> list[Check]:
        raise RuntimeError(f"no {config.token.get_secret_value()}")

    told = str([await diagnosis_of(file, diagnose), await diagnosis_of(file, break_down)])
    assert SECRET not in told
    assert told.count("**********") == 4  # of the one: its name, twice, and its detail


async def raises(_: object) -> list[Check]:
    raise KeyError("boom")


async def leaves(_: object) -> list[Check]:
    sys.exit(3)


async def says_nothing(_: object) -> None:
    return None


async def says_something_else(_: object) -> list[str]:
    return ["all checks passed"]


async def has_no_verdict(_: object) -> list[Any]:
    wrong: Any = "fine"
    return [Check("program", wrong)]


async def raises_later(_: object) -> Iterator[Check]:
    def checks() -> Iterator[Check]:
        yield Check("first", "ok")
        raise KeyError("boom")

    return checks()


async def hangs(_: object) -> None:
    await anyio.sleep_forever()


def is_not_async(_: object) -> list[Check]:
    return []


@pytest.mark.parametrize(
    "diagnose",
    [
        raises,
        leaves,
        says_nothing,
        says_something_else,
        has_no_verdict,
        raises_later,
        hangs,
        is_not_async,
    ],
)
async def test_a_backend_that_cannot_look_is_a_finding(
    file: Path, monkeypatch: pytest.MonkeyPatch, diagnose: Any
) -> None:
    monkeypatch.setattr(doctors_backend, "PATIENCE", 0.05)
    checks = await diagnosis_of(file, diagnose)
    verdict, detail = only(checks, "diagnosis")
    assert verdict == "unknown"
    assert detail.startswith("backend 'probe' failed: ")
    assert "local port" in checks  # the doctor goes on


async def test_a_detail_that_is_no_text_is_shown_as_one(file: Path) -> None:
    async def diagnose(_: object) -> list[Check]:
        version: Any = 7
        return [Check("program", "ok", version)]

    assert only(await diagnosis_of(file, diagnose), "program") == ("ok", "7")


async def test_servers_that_cannot_be_named_are_a_finding(file: Path) -> None:
    def servers(_: object) -> list[str]:
        raise KeyError("boom")

    verdict, detail = only(await found(file, servers=servers), "network")
    assert (verdict, "failed to name its servers: KeyError: 'boom'" in detail) == ("unknown", True)


@pytest.mark.parametrize(
    ("token", "verdict", "detail"),
    [
        ("cr_2abcdefghijklmnopqrstuvwxyz", "fail", "this is an id, not the token"),
        ("not a token", "fail", "does not have the form of a token"),
        ("2abcdefghijklmnop_3abcdefghijklmnop", "ok", "has the form of a token"),
    ],
)
async def test_the_shape_of_a_token(
    file: Path, monkeypatch: pytest.MonkeyPatch, token: str, verdict: str, detail: str
) -> None:
    """Of an installed backend, asked through its `diagnose`."""
    monkeypatch.setenv("TOKEN", token)

    async def reach_nothing(servers: list[str]) -> list[Check]:
        return [Check("outbound", "ok", server) for server in servers]

    monkeypatch.setattr(doctors_backend, "_reach_all", reach_nothing)
    text = "[tunnel]\nbackend = 'ngrok'\n[tunnel.ngrok]\nauthtoken = '${TOKEN}'\n"
    checks = await found(file, text + "program = '/no/ngrok'\n", plugins=PluginRegistry())
    assert only(checks, "authtoken")[0] == verdict
    assert only(checks, "authtoken")[1].startswith(detail)
    assert "/no/ngrok" in only(checks, "program")[1]
    assert only(checks, "outbound") == ("ok", "connect.ngrok-agent.com:443")
