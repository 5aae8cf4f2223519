"""The relay inside this process: cut, frozen, and closed to everybody else."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

import asyncssh
import httpx
import pytest
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.connect import connect
from prx_tunnel_ssh.embedded import EmbeddedConnection
from prx_tunnel_ssh.relay.server import Relay
from ssh_programs import PATIENCE, App

from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.errors import ConnectError

pytestmark = pytest.mark.anyio


def relay_of(connection: Connection) -> Relay:
    assert isinstance(connection, EmbeddedConnection)
    return connection._relay


async def dropped(connection: Connection) -> str:
    async with asyncio.timeout(PATIENCE):
        return await connection.wait_closed()


async def test_bodies_arrive_byte_for_byte(app: App, http: httpx.AsyncClient) -> None:
    body = bytes(range(256)) * 20_480  # 5 MiB
    async with connect(SshConfig(), app.target) as connection:
        assert (await http.post(connection.public_url, content=body)).content == body
        answers = await asyncio.gather(
            *(http.post(connection.public_url, content=f"body {n}") for n in range(200))
        )
        assert [answer.text for answer in answers] == [f"body {n}" for n in range(200)]


async def test_it_says_plainly_how_far_it_reaches(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(SshConfig(), app.target) as connection:
        assert connection.details["note"] == "embedded relay: reachable from this machine only"
        assert urlsplit(connection.public_url).hostname == "127.0.0.1"
    (record,) = [r for r in caplog.records if r.name.startswith("prx_tunnel_ssh")]
    assert record.levelno == logging.WARNING
    assert "reachable from this machine only" in record.getMessage()
    assert [r.getMessage() for r in caplog.records if r.name == "asyncssh"] == []


async def test_it_is_cut_and_comes_back_with_the_same_url(
    app: App, http: httpx.AsyncClient
) -> None:
    async with connect(SshConfig(), app.target) as connection:
        url = connection.public_url
        assert await connection.abort()
        assert await dropped(connection) == "the connection to the SSH server was lost"
        with pytest.raises(httpx.ConnectError):
            await http.get(url)
    async with connect(SshConfig(), app.target) as connection:
        assert connection.public_url == url
        assert (await http.post(url, content="again")).text == "again"


async def test_two_tunnels_to_one_port_do_not_meet(app: App) -> None:
    async with (
        connect(SshConfig(), app.target) as first,
        connect(SshConfig(), app.target) as second,
    ):
        assert first.public_url != second.public_url


async def test_a_listener_that_is_gone_fails_the_check(app: App) -> None:
    async with connect(SshConfig(), app.target) as connection:
        for guest in relay_of(connection).guests:
            assert guest.grants is not None
            guest.grants.close()
        checks = {check.name: check.verdict for check in await connection.check()}
        assert checks == {"ssh": "ok", "listener": "fail"}


async def test_a_frozen_transport_is_noticed(app: App) -> None:
    config = SshConfig(keepalive_interval=0.3, keepalive_count=2)
    async with connect(config, app.target) as connection:
        for guest in relay_of(connection).guests:
            transport = guest.connection._transport
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()
        start = asyncio.get_running_loop().time()
        assert "no longer answers" in await dropped(connection)
        assert asyncio.get_running_loop().time() - start < 0.6 + 0.7


async def test_the_port_that_was_asked_for(app: App, unused_port: int) -> None:
    async with connect(SshConfig(remote_port=unused_port), app.target) as connection:
        assert connection.public_url == f"http://127.0.0.1:{unused_port}"
        with pytest.raises(ConnectError, match=f"port {unused_port}"):
            async with connect(SshConfig(remote_port=unused_port), Target("127.0.0.1", 9)):
                pass


async def test_nobody_else_gets_in(app: App) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with connect(SshConfig(), app.target) as connection:
        host, _, port = connection.details["relay"].partition(":")
        for offered in ([key], None):
            with pytest.raises(asyncssh.PermissionDenied):
                await asyncssh.connect(
                    host, int(port), username="x", client_keys=offered, known_hosts=None,
                    config=None, agent_path=None,
                )  # fmt: skip


async def test_the_key_of_the_tunnel_opens_this_tunnel_only(app: App) -> None:
    async with connect(SshConfig(), app.target) as connection:
        (guest,) = relay_of(connection).guests
        client = connection._connection._transport.connection  # type: ignore[attr-defined]
        assert guest.grants is not None
        with pytest.raises(asyncssh.ChannelListenError):
            await client.create_server(lambda *_: None, "127.0.0.1", 0)
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.open_connection("127.0.0.1", app.target.port)
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.run("true")
