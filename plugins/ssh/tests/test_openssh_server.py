"""The backend against a real sshd."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from prx_tunnel_ssh.config import ANY_HOST_KEY, SshConfig
from prx_tunnel_ssh.connect import connect
from ssh_programs import PATIENCE, App, OpenSSHServer, make_key

from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.errors import ConnectError, SetupError

pytestmark = pytest.mark.anyio


def configured(sshd: OpenSSHServer, **more: Any) -> SshConfig:
    return SshConfig(**sshd.settings(**more))


async def refusal(config: SshConfig) -> Exception:
    target = Target("127.0.0.1", 9)
    with pytest.raises((SetupError, ConnectError)) as caught:
        async with asyncio.timeout(PATIENCE), connect(config, target):
            pass
    return caught.value


async def dropped(connection: Connection) -> str:
    async with asyncio.timeout(PATIENCE):
        return await connection.wait_closed()


async def test_bodies_arrive_byte_for_byte(
    sshd: OpenSSHServer, app: App, http: httpx.AsyncClient
) -> None:
    body = bytes(range(256)) * 20_480  # 5 MiB
    async with sshd.serve(), connect(configured(sshd), app.target) as connection:
        assert connection.public_url.startswith("http://127.0.0.1:")
        assert (await http.post(connection.public_url, content=body)).content == body
        answers = await asyncio.gather(
            *(http.post(connection.public_url, content=f"body {n}") for n in range(200))
        )
        assert [answer.text for answer in answers] == [f"body {n}" for n in range(200)]
        assert [check.verdict for check in await connection.check()] == ["ok"]


async def test_the_port_that_was_asked_for(
    sshd: OpenSSHServer, app: App, unused_port: int, http: httpx.AsyncClient
) -> None:
    config = configured(sshd, remote_port=unused_port, public_url="http://localhost:{port}/hooks")
    async with sshd.serve(), connect(config, app.target) as connection:
        assert connection.public_url == f"http://localhost:{unused_port}/hooks"
        answer = await http.post(f"http://127.0.0.1:{unused_port}/hooks", content="ping")
        assert answer.text == "ping"


async def test_a_server_that_is_killed_and_restarted(
    sshd: OpenSSHServer, app: App, http: httpx.AsyncClient
) -> None:
    config = configured(sshd)
    async with sshd.serve() as server, connect(config, app.target) as connection:
        server.signal(signal.SIGKILL)
        assert await dropped(connection) == "the connection to the SSH server was lost"
        assert [check.verdict for check in await connection.check()] == ["fail"]
        assert isinstance(await refusal(config), ConnectError)
    async with sshd.serve(), connect(config, app.target) as connection:
        assert (await http.post(connection.public_url, content="again")).text == "again"


async def test_a_frozen_server_is_noticed_in_time(sshd: OpenSSHServer, app: App) -> None:
    config = configured(sshd, keepalive_interval=0.4, keepalive_count=2)
    async with sshd.serve() as server, connect(config, app.target) as connection:
        server.signal(signal.SIGSTOP)
        start = asyncio.get_running_loop().time()
        (check,) = await connection.check()
        assert check.verdict == "fail"
        assert "no longer answers" in await dropped(connection)
        # Within 0.8 s of the freeze, plus what a busy machine takes to get round to it.
        assert asyncio.get_running_loop().time() - start < 0.8 + 0.7


async def test_an_idle_server_is_not_taken_for_dead(sshd: OpenSSHServer, app: App) -> None:
    config = configured(sshd, keepalive_interval=0.1, keepalive_count=1)
    async with sshd.serve(), connect(config, app.target) as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await connection.wait_closed()


async def test_a_key_that_is_refused(sshd: OpenSSHServer, tmp_path: Path) -> None:
    config = configured(sshd, identity_file=str(make_key(tmp_path / "other")), username="nobody")
    async with sshd.serve():
        error = await refusal(config)
    assert isinstance(error, SetupError)
    assert "127.0.0.1 refused 'nobody'" in str(error)
    assert "ssh-ed25519 SHA256:" in str(error)
    assert "authorized_keys" in str(error)


async def test_no_credentials_at_all(sshd: OpenSSHServer) -> None:
    config = SshConfig(host="127.0.0.1", port=sshd.port, known_hosts=str(sshd.known_hosts))
    async with sshd.serve():
        error = await refusal(config)
    assert isinstance(error, SetupError)
    assert "set identity_file, agent or password" in str(error)


async def test_the_default_files_are_tried(sshd: OpenSSHServer, app: App, home: Path) -> None:
    shutil.copy(sshd.client_key, home / ".ssh/id_ed25519")
    config = SshConfig(host="127.0.0.1", port=sshd.port, known_hosts=str(sshd.known_hosts))
    async with sshd.serve(), connect(config, app.target):
        pass


async def test_more_keys_than_the_server_has_patience_for(sshd: OpenSSHServer, home: Path) -> None:
    for name in ("id_ed25519", "id_ecdsa"):
        make_key(home / ".ssh" / name, name.removeprefix("id_"))
    config = SshConfig(host="127.0.0.1", port=sshd.port, known_hosts=str(sshd.known_hosts))
    async with sshd.serve("MaxAuthTries 1"):
        error = await refusal(config)
    assert isinstance(error, SetupError)
    assert "identity_file" in str(error)


async def test_a_user_s_own_ssh_config_has_no_say(
    sshd: OpenSSHServer, app: App, home: Path
) -> None:
    (home / ".ssh/config").write_text("Host *\n  Port 1\n  User nobody\n  ProxyCommand false\n")
    async with sshd.serve(), connect(configured(sshd), app.target):
        pass


async def test_forwarding_that_is_not_allowed(sshd: OpenSSHServer) -> None:
    async with sshd.serve("AllowTcpForwarding no"):
        error = await refusal(configured(sshd))
    assert isinstance(error, ConnectError)
    assert "AllowTcpForwarding" in str(error)


async def test_a_key_may_be_restricted_to_its_port(
    sshd: OpenSSHServer, app: App, unused_port: int
) -> None:
    """As docs/backends/ssh.md advises."""
    url = "https://hooks.example.test"
    mine = configured(sshd, remote_port=unused_port, public_url=url)
    options = ("AllowTcpForwarding remote", f"PermitListen 127.0.0.1:{unused_port}")
    async with sshd.serve(*options, "ForceCommand /usr/sbin/nologin", "PermitTTY no"):
        async with connect(mine, app.target) as connection:
            assert connection.public_url == url
        assert "PermitListen" in str(await refusal(configured(sshd)))


async def test_a_port_that_is_taken(sshd: OpenSSHServer, app: App) -> None:
    config = configured(sshd, remote_port=app.target.port)
    async with sshd.serve():
        error = await refusal(config)
    assert isinstance(error, ConnectError)
    assert f"port {app.target.port}: either it is in use" in str(error)


@pytest.mark.parametrize(
    ("host", "said"),
    [("127.0.0.1", "127.0.0.1:{port}"), ("no-such-host.invalid", "tunnel.ssh.host: {host} was")],
)
async def test_a_server_that_cannot_be_reached(host: str, said: str, unused_port: int) -> None:
    config = SshConfig(host=host, port=unused_port, known_hosts=ANY_HOST_KEY)
    error = await refusal(config)
    assert isinstance(error, ConnectError)
    assert said.format(host=host, port=unused_port) in str(error)
    assert "onnect call failed" not in str(error)


async def test_what_listens_is_no_ssh_server() -> None:
    server = await asyncio.start_server(_hangs_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = SshConfig(host="127.0.0.1", port=port, known_hosts=ANY_HOST_KEY)
    assert isinstance(await refusal(config), ConnectError)
    server.close()


async def _hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.test ESMTP\r\n")
    writer.close()
