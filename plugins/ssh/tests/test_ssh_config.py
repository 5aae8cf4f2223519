"""`[tunnel.ssh]`: what may be said, and what the errors say."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
from prx_tunnel_ssh import prx_tunnel_backends
from prx_tunnel_ssh.config import ANY_HOST_KEY, SshConfig
from prx_tunnel_ssh.connect import connect

from prx_tunnel_core import Tunnel
from prx_tunnel_core.backend import Backend, Target
from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError, ConnectError, SetupError
from prx_tunnel_core.programs import compile_pattern


def error(**table: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(SshConfig, table, path="tunnel.ssh")
    return str(caught.value)


def test_a_backend_is_offered() -> None:
    (backend,) = prx_tunnel_backends()
    assert isinstance(backend, Backend)
    assert (backend.name, backend.config, backend.program) == ("ssh", SshConfig, None)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"port": 2222}, "host is missing: without it, port has no meaning"),
        ({"host": "me@relay.test"}, "tunnel.ssh.host: use a plain name or address"),
        ({"host": " "}, "tunnel.ssh.host"),
        ({"host": "-oProxyCommand=x"}, "tunnel.ssh.host: '-oProxyCommand=x' is an option"),
        ({"host": "r.test", "username": "-l"}, "tunnel.ssh.username: '-l' is an option"),
        ({"host": "r.test", "port": 0}, "tunnel.ssh.port"),
        ({"host": "r.test", "known_hosts": ""}, "tunnel.ssh.known_hosts: is empty"),
        ({"host": "r.test", "public_url": "https://a.test"}, "has no {port}"),
        ({"host": "r.test", "public_url": "a.test:{port}"}, "tunnel.ssh.public_url: the scheme"),
        ({"host": "r.test", "url_pattern": "https://.*"}, "put parentheses around the part"),
        ({"host": "r.test", "url_pattern": "(https://"}, "not a regular expression (RE2"),
        ({"host": "r.test", "url_pattern": "(.*)"}, "it matches an empty line"),
        ({"host": "r.test", "keepalive_count": 0}, "tunnel.ssh.keepalive_count"),
        ({"host": "r.test", "password": "abc"}, "a secret has at least 4 characters"),
        (
            {"host": "r.test", "url_pattern": "(https://a)", "public_url": "https://a.test:{port}"},
            "keep one",
        ),
    ],
)
def test_what_is_refused(table: dict[str, Any], reason: str) -> None:
    assert reason in error(**table)


@pytest.mark.parametrize(
    ("table", "address"),
    [
        ({"host": "relay.test"}, ""),
        ({"host": "relay.test", "public_url": "https://t.relay.test:{port}"}, "127.0.0.1"),
        ({"host": "relay.test", "url_pattern": "(https://a)"}, "localhost"),
        ({"host": "127.0.0.1"}, "127.0.0.1"),
        ({"host": "::1"}, "::1"),
        ({"host": "relay.test", "remote_host": "billing"}, "billing"),
    ],
)
def test_the_address_that_the_server_listens_on(table: dict[str, Any], address: str) -> None:
    assert SshConfig(**table).listen_host == address


def test_the_public_url() -> None:
    assert SshConfig(host="relay.test").url_of(8080) == "http://relay.test:8080"
    assert SshConfig(host="2001:db8::1").url_of(80) == "http://[2001:db8::1]"
    fronted = SshConfig(host="relay.test", public_url="https://hooks.test:{port}/in/")
    assert fronted.url_of(20_001) == "https://hooks.test:20001/in"


def test_being_offline_is_an_excuse_only_for_servers_elsewhere() -> None:
    assert SshConfig().server_on_loopback()
    assert SshConfig(host="localhost").server_on_loopback()
    assert not SshConfig(host="relay.test").server_on_loopback()


def test_a_hostile_line_does_not_stall_the_pattern() -> None:
    pattern = compile_pattern(r"((a+)+)$".replace("((a+)+)", "(?:(?:a+)+)(b)"))
    assert pattern.search("a" * 50_000) is None


@pytest.mark.anyio
async def test_a_host_that_is_not_found_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    config = SshConfig(host="relay.invalid", known_hosts=ANY_HOST_KEY)
    with pytest.raises(ConnectError) as caught:
        async with connect(config, Target("127.0.0.1", 9)):
            pass
    assert str(caught.value) == (
        "tunnel.ssh.host: relay.invalid was not found (Name or service not known); "
        "check its spelling, and the name servers of this machine"
    )


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["a..test", "a" * 64 + ".test"])
async def test_a_host_that_no_resolver_takes_is_not_tried_again(host: str) -> None:
    config = SshConfig(host=host, known_hosts=ANY_HOST_KEY)
    with pytest.raises(SetupError, match=rf"^tunnel\.ssh\.host: {host} is not a valid host name"):
        async with connect(config, Target("127.0.0.1", 9)):
            pass


def test_on_trio_it_says_what_it_needs() -> None:
    async def attempt() -> None:
        async with connect(SshConfig(), Target("127.0.0.1", 9)):
            pass

    with pytest.raises(SetupError, match="needs asyncio"):
        trio.run(attempt)


@pytest.mark.anyio
async def test_a_short_connect_timeout_of_the_tunnel_gives_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = {"host": "127.0.0.1", "port": silent.getsockname()[1], "username": "x"}
        table = {
            "backend": "ssh",
            "connect_timeout": 2,
            "reconnect": {"enabled": False},
            "ssh": {**server, "password": "secret-word", "known_hosts": ANY_HOST_KEY},
        }
        async with Tunnel(table) as tunnel:
            with pytest.raises(
                ConnectError, match=r"did not answer in time; check tunnel\.ssh\.host"
            ):
                await tunnel.start()
