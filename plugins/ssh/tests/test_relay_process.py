"""The relay as its own process, used by this backend and by OpenSSH's client."""

from __future__ import annotations

import asyncio
import signal
import stat
import sys
from pathlib import Path

import asyncssh
import httpx
import pytest
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.connect import connect
from prx_tunnel_ssh.relay.arguments import parse
from ssh_programs import PATIENCE, App, StandaloneRelay, make_key, run

from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.errors import ConnectError, SetupError

pytestmark = pytest.mark.anyio

NOBODY = Target("127.0.0.1", 9)


async def dropped(connection: Connection) -> str:
    async with asyncio.timeout(PATIENCE):
        return await connection.wait_closed()


async def test_the_backend_through_the_relay(
    relay: StandaloneRelay, app: App, http: httpx.AsyncClient
) -> None:
    body = bytes(range(256)) * 20_480  # 5 MiB
    async with relay.serve() as program:
        config = SshConfig(**relay.settings())
        async with connect(config, app.target) as connection:
            assert (await http.post(connection.public_url, content=body)).content == body
            answers = await asyncio.gather(
                *(http.post(connection.public_url, content=f"body {n}") for n in range(200))
            )
            assert [answer.text for answer in answers] == [f"body {n}" for n in range(200)]
        await program.line("disconnected")


async def test_openssh_s_client_through_the_relay(
    relay: StandaloneRelay, app: App, http: httpx.AsyncClient
) -> None:
    body = bytes(range(256)) * 20_480  # 5 MiB
    command = relay.ssh("-N", "-R", f"0:127.0.0.1:{app.target.port}", "127.0.0.1")
    async with relay.serve(), run(command) as client:
        line = await client.line("Allocated port")
        url = f"http://127.0.0.1:{line.split()[2]}"
        assert (await http.post(url, content=body)).content == body
        answers = await asyncio.gather(*(http.post(url, content=f"{n}") for n in range(200)))
        assert [answer.text for answer in answers] == [f"{n}" for n in range(200)]


async def test_the_relay_is_killed_and_restarted_with_the_same_key_and_port(
    relay: StandaloneRelay, app: App, http: httpx.AsyncClient
) -> None:
    config = SshConfig(**relay.settings())
    ports = ("--ports", "0,21000-21999")
    async with relay.serve(*ports) as program, connect(config, app.target) as connection:
        program.signal(signal.SIGKILL)
        assert await dropped(connection) == "the connection to the SSH server was lost"
    async with relay.serve(*ports), connect(config, app.target) as again:
        assert again.public_url == connection.public_url
        assert (await http.post(again.public_url, content="again")).text == "again"


async def test_a_frozen_relay_is_noticed(relay: StandaloneRelay, app: App) -> None:
    config = SshConfig(**relay.settings(keepalive_interval=0.3, keepalive_count=2))
    async with relay.serve() as program, connect(config, app.target) as connection:
        program.signal(signal.SIGSTOP)
        assert "no longer answers" in await dropped(connection)


async def test_who_comes_back_gets_the_port_of_a_connection_that_is_dead(
    relay: StandaloneRelay, app: App, unused_port: int, http: httpx.AsyncClient
) -> None:
    command = relay.ssh("-N", "-v", "-R", f"{unused_port}:127.0.0.1:9", "127.0.0.1")
    config = SshConfig(**relay.settings(remote_port=unused_port))
    async with relay.here("--ports", str(unused_port)), run(command) as client:
        await client.line("remote forward success")
        with pytest.raises(ConnectError, match="in use"):
            async with connect(config, app.target):
                pass
        client.signal(signal.SIGSTOP)
        async with connect(config, app.target) as connection:
            assert (await http.post(connection.public_url, content="mine")).text == "mine"


async def test_a_term_signal_is_a_clean_end(relay: StandaloneRelay, app: App) -> None:
    config = SshConfig(**relay.settings())
    async with relay.serve() as program, connect(config, app.target) as connection:
        program.process.send_signal(signal.SIGTERM)
        assert await program.wait() == 0
        assert "closed the connection" in await dropped(connection)
        assert "relay down" in await program.line("relay down")
        assert "Traceback" not in program.output


async def test_the_host_key_is_made_once_and_private(relay: StandaloneRelay) -> None:
    path = relay.directory / "relay_host_key"
    async with relay.here() as program:
        made = await program.line("host key made")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert asyncssh.read_private_key(str(path)).get_fingerprint() in made
    first = relay.known_hosts.read_text()
    async with relay.here():
        assert relay.known_hosts.read_text() == first
    path.chmod(0o644)
    with pytest.raises(SetupError, match=f"chmod 600 {path}"):
        async with relay.here():
            pass
    path.chmod(0o600)
    path.parent.chmod(0o777)
    with pytest.raises(SetupError, match=f"chmod go-w {path.parent}"):
        async with relay.here():
            pass


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--ports", "20000-"], "is neither a port nor"),
        (["--ports", "70000"], "is not within"),
        (["--domain", "t.test"], "--domain and --http belong together"),
        (["--http", "80"], "is not HOST:PORT"),
        (["--certificate", "x.pem"], "--certificate needs --http"),
    ],
)
def test_arguments_that_make_no_sense(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--listen", "127.0.0.1:0", "--authorized-keys", "keys", *arguments])
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err


async def test_files_that_are_missing(relay: StandaloneRelay) -> None:
    relay.authorized_keys.unlink()
    command = [sys.executable, "-m", "prx_tunnel_ssh.relay", *relay.arguments()]
    async with run(command) as program:
        assert await program.wait() == 1
        await program.line("authorized keys:")
        assert "Traceback" not in program.output


async def test_a_key_that_is_taken_from_the_file_is_refused_from_then_on(
    relay: StandaloneRelay, tmp_path: Path
) -> None:
    other = make_key(tmp_path / "other")
    config = SshConfig(**relay.settings())
    async with relay.here() as program:
        async with connect(config, NOBODY):
            pass
        relay.authorize(other)
        with pytest.raises(SetupError, match="refused"):
            async with connect(config, NOBODY):
                pass
        relay.authorized_keys.unlink()
        with pytest.raises(SetupError, match="refused"):
            async with connect(config, NOBODY):
                pass
        await program.line("authorized keys unreadable")


async def test_s12_keys_that_others_could_add_to_are_refused(relay: StandaloneRelay) -> None:
    config = SshConfig(**relay.settings())
    keys = relay.authorized_keys
    keys.chmod(0o666)
    with pytest.raises(SetupError, match=f"^authorized keys: .* run: chmod go-w {keys}$"):
        async with relay.here():
            pass
    keys.chmod(0o644)
    async with relay.here() as program:
        async with connect(config, NOBODY):
            pass
        keys.chmod(0o666)
        relay.authorize(relay.client_key, options="restrict,port-forwarding ")
        with pytest.raises(SetupError, match="refused"):
            async with connect(config, NOBODY):
                pass
        await program.line("authorized keys unreadable")


async def test_the_options_of_a_key_mean_what_they_say_or_refuse_it(
    relay: StandaloneRelay,
) -> None:
    expected = {
        'from="127.0.0.*" ': True,
        'from="10.0.0.1" ': False,
        "restrict,port-forwarding ": True,
        "restrict ": False,
        "No-Port-Forwarding ": False,
        'permitlisten="8080" ': False,
        'expiry-time="20200101" ': False,
    }
    async with relay.here():
        for options, accepted in expected.items():
            relay.authorize(relay.client_key, options=options)
            try:
                async with connect(SshConfig(**relay.settings()), NOBODY):
                    assert accepted, options
            except SetupError:
                assert not accepted, options


async def test_connections_of_one_key_are_limited(relay: StandaloneRelay) -> None:
    config = SshConfig(**relay.settings())
    async with relay.here("--per-key", "1") as program, connect(config, NOBODY):
        with pytest.raises(ConnectError):
            async with connect(config, NOBODY):
                pass
        await program.line("too many connections with this key")


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        (["--connections", "1"], "the relay is full"),
        (["--per-address", "1"], "too many connections from this address"),
        (["--new-per-minute", "1"], "too many connections in a minute"),
    ],
)
async def test_connections_are_limited_before_they_say_a_word(
    relay: StandaloneRelay, limit: list[str], reason: str
) -> None:
    async with relay.here(*limit) as program, asyncio.timeout(PATIENCE):
        first, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        assert (await first.readline()).startswith(b"SSH-2.0-")
        second, other = await asyncio.open_connection("127.0.0.1", relay.port)
        assert await second.read(-1) == b""
        await program.line(reason)
        writer.close()
        other.close()


async def test_a_connection_that_never_proves_anything_is_closed(relay: StandaloneRelay) -> None:
    async with relay.here("--login-seconds", "0.2"), asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        assert b"SSH-2.0-" in await reader.read(-1)
        writer.close()


async def test_keys_cannot_be_tried_for_ever(relay: StandaloneRelay) -> None:
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(4)]
    async with relay.here("--key-offers", "3") as program:
        with pytest.raises((asyncssh.ConnectionLost, ConnectionError)):
            await asyncssh.connect(
                "127.0.0.1", relay.port, username="x", client_keys=keys, known_hosts=None,
                config=None, agent_path=None,
            )  # fmt: skip
        await program.line("too many keys offered")


async def test_visitors_are_limited(relay: StandaloneRelay, app: App) -> None:
    async with (
        relay.here("--visitors", "1"),
        asyncio.timeout(PATIENCE),
        connect(SshConfig(**relay.settings()), app.target) as connection,
    ):
        port = int(connection.public_url.rpartition(":")[2])
        first, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await first.readline() == b"HTTP/1.1 200 OK\r\n"
        second, other = await asyncio.open_connection("127.0.0.1", port)
        assert await second.read(-1) == b""
        writer.close()
        other.close()
