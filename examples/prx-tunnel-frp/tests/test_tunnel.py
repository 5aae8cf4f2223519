"""frpc_file, connect and the connection, with the stand-in and with what frp itself wrote."""

import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import anyio
import pytest

from prx_tunnel_core import ConfigError, ConnectError, SetupError, Target
from prx_tunnel_core.config import validate
from prx_tunnel_frp.config import FrpConfig
from prx_tunnel_frp.connect import _started, connect
from prx_tunnel_frp.connection import _lost
from prx_tunnel_frp.diagnose import diagnose
from prx_tunnel_frp.frpc_file import Access, render, written

HERE = Path(__file__).parent
TARGET = Target("127.0.0.1", 3000)
TOKEN = 'tok"en {{ .Envs.HOME }} \\ \x7f'
VARIES = re.compile(r"^[\d-]+ [\d:.]+ |[0-9a-f]{16}|127\.0\.0\.1:\d+|\[[^ ]*\.toml\]|\[web-\w+\]")


def frp(**table: object) -> FrpConfig:
    given = {"server": "127.0.0.1", "token": TOKEN, "type": "tcp", **table}
    return validate(FrpConfig, given, path="tunnel.frp")


@pytest.fixture
def frpc(tmp_path: Path) -> str:
    program = tmp_path / "frpc"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {HERE / "frpc.py"} "$@"\n')
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"type": "http"}, "domain is missing"),
        ({"domain": "a.example.com"}, 'domain has no meaning with type = "tcp"'),
        ({"type": "http", "domain": "a.example.com", "remote_port": 7}, "remote_port has no"),
        ({"server": "http://frp.example.com"}, "server"),
    ],
)
def test_what_does_not_fit_together_is_refused(table: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        frp(**table)


def test_the_file_is_private_toml_and_no_template_and_gone_afterwards() -> None:
    with written(frp(), TARGET, "web", Access(7400)) as path:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        text = Path(path).read_text()
    assert not os.path.exists(os.path.dirname(path))
    assert "{" not in text
    told = tomllib.loads(text)
    assert told["auth"] == {"method": "token", "token": TOKEN}
    assert told["transport"]["tls"]["enable"] is True
    assert told["webServer"]["addr"] == "127.0.0.1"
    assert told["proxies"] == [
        {"name": "web", "type": "tcp", "localIP": "127.0.0.1", "localPort": 3000, "remotePort": 0}
    ]


def test_http_asks_for_the_domain() -> None:
    config = frp(type="http", domain="a.example.com", trusted_ca="~/ca.pem")
    told = tomllib.loads(render(config, TARGET, "web", Access(7400)))
    assert told["proxies"][0]["customDomains"] == ["a.example.com"]
    assert told["transport"]["tls"]["trustedCaFile"] == os.path.expanduser("~/ca.pem")


def recording(name: str) -> list[str]:
    return (HERE / "recordings" / f"{name}.txt").read_text().splitlines()


def test_what_frp_says_is_understood() -> None:
    assert [_started(line) for line in recording("http")][5] is True
    for name in ("port-used", "domain-used"):
        with pytest.raises(ConnectError, match="frps refused the tunnel: (port al|router)"):
            [_started(line) for line in recording(name)]
    with pytest.raises(SetupError, match="set tunnel.frp.token"):
        [_started(line) for line in recording("bad-token")]
    lost = [number for number, line in enumerate(recording("tcp-then-lost")) if _lost(line)]
    assert lost == [8, 10]


@pytest.mark.parametrize(
    ("name", "table", "lines"),
    [
        ("http", {"type": "http", "domain": "a.example.com"}, 6),
        ("bad-token", {"token": "wrong-token"}, 7),
        ("port-used", {"remote_port": 1}, 6),
        ("domain-used", {"type": "http", "domain": "taken.example.com"}, 6),
    ],
)
def test_the_stand_in_writes_what_frpc_wrote(
    name: str, table: dict[str, object], lines: int, frpc: str, free_tcp_port: int
) -> None:
    with written(frp(**table), TARGET, "web-x", Access(free_tcp_port)) as path:
        process = subprocess.Popen([frpc, "-c", path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process, process.stdout:
            said = [process.stdout.readline().rstrip("\n") for _ in range(lines)]
            process.kill()

    def alike(lines: list[str]) -> list[str]:
        return [VARIES.sub("*", line) for line in lines]

    assert alike(said) == alike(recording(name)[:lines])


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_bytes_arrive_and_the_status_is_told(frpc: str) -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(await stream.receive())

    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        with anyio.fail_after(20):
            async with connect(frp(program=frpc), Target("127.0.0.1", port)) as connection:
                public = int(connection.public_url.rpartition(":")[2])
                async with await anyio.connect_tcp("127.0.0.1", public) as visitor:
                    await visitor.send(b"hello")
                    assert await visitor.receive() == b"hello"
                (check,) = await connection.check()
                assert (check.verdict, check.detail) == ("ok", f"127.0.0.1:{public}")
                assert await connection.abort()
                assert "SIGKILL" in await connection.wait_closed()
                (check,) = await connection.check()
                assert check.verdict == "fail"
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("table", "error", "reason"),
    [
        ({"token": "wrong-token"}, SetupError, "frps refused the token"),
        ({"remote_port": 1}, ConnectError, "port already used"),
        ({"program": "frpc-of-nobody"}, SetupError, "get frpc from"),
    ],
)
async def test_a_refusal_is_told_in_words(
    table: dict[str, object], error: type[Exception], reason: str, frpc: str
) -> None:
    with anyio.fail_after(20), pytest.raises(error, match=reason):
        async with connect(frp(**{"program": frpc, **table}), TARGET):
            pytest.fail("connected")


@pytest.mark.anyio
async def test_the_program_is_diagnosed(frpc: str, tmp_path: Path) -> None:
    (found,) = await diagnose(frp(program=frpc))
    assert (found.verdict, found.detail) == ("ok", f"{frpc} 0.65.0")
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\necho 0.51.3\n")
    old.chmod(0o755)
    (found,) = await diagnose(frp(program=str(old)))
    assert found.verdict == "fail"
    assert "is frpc 0.51.3, but 0.52.0 or newer is required; get frpc from" in found.detail
