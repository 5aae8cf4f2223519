"""Servers that print the URL into the session, played by a real sshd with a forced command."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.connect import connect
from ssh_programs import PATIENCE, App, OpenSSHServer

from prx_tunnel_core.errors import ConnectError

pytestmark = pytest.mark.anyio

PATTERN = r"(https://[a-z0-9.-]+\.relay\.test)\b"


def forced(directory: Path, script: str) -> str:
    path = directory / "session"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"ForceCommand {path}"


async def announced(sshd: OpenSSHServer, app: App, script: str) -> str:
    config = SshConfig(**sshd.settings(url_pattern=PATTERN))
    async with (
        sshd.serve(forced(sshd.directory, script)),
        asyncio.timeout(PATIENCE),
        connect(config, app.target) as connection,
    ):
        return connection.public_url


@pytest.mark.parametrize(
    "script",
    [
        "echo see https://docs.example.test; echo; echo 'tls: https://a1b2.relay.test'; sleep 60",
        r"printf '\033[32mhttps://a1b2.\033[0mrelay.test\033[0m (free plan)'; exec sleep 60",
        "printf https://a1b2; sleep 0.05; printf '.relay.test '; exec sleep 60",
        "echo https://a1b2.relay.test >&2; exec sleep 60",
    ],
    ids=["among other lines", "coloured, no line end", "in pieces", "on the other stream"],
)
async def test_the_url_is_found(sshd: OpenSSHServer, app: App, script: str) -> None:
    assert await announced(sshd, app, script) == "https://a1b2.relay.test"


async def test_no_url_is_an_error_with_the_last_lines(sshd: OpenSSHServer, app: App) -> None:
    with pytest.raises(ConnectError) as caught:
        await announced(sshd, app, "echo 'your account is over its limit'; exit 1")
    assert "your account is over its limit" in str(caught.value)
    assert "url_pattern" in str(caught.value)


async def test_only_the_first_match_counts(sshd: OpenSSHServer, app: App) -> None:
    script = (
        "echo https://a1b2.relay.test; "
        "echo 'GET / from https://evil.relay.test'; yes | head -c 4000000; exec sleep 60"
    )
    assert await announced(sshd, app, script) == "https://a1b2.relay.test"


async def test_the_end_of_the_session_is_the_end_of_the_tunnel(
    sshd: OpenSSHServer, app: App
) -> None:
    gate = sshd.directory / "gate"
    command = f"echo https://a1b2.relay.test; mkfifo {gate}; cat {gate}; exit 0"
    config = SshConfig(**sshd.settings(url_pattern=PATTERN))
    async with (
        sshd.serve(forced(sshd.directory, command)),
        asyncio.timeout(PATIENCE),
        connect(config, app.target) as connection,
    ):
        await asyncio.to_thread(gate.write_text, "your free hour is over\n")
        assert "your free hour is over" in await connection.wait_closed()
        assert [check.verdict for check in await connection.check()] == ["fail"]


async def test_a_server_that_prints_no_url_is_given_up_in_time(
    sshd: OpenSSHServer, app: App
) -> None:
    late = r"time ran out before the server printed a URL that [^\n]*\nhello"
    config = SshConfig(**sshd.settings(url_pattern=PATTERN))
    async with sshd.serve(forced(sshd.directory, "echo hello; sleep 60")):
        with anyio.fail_after(5), pytest.raises(ConnectError, match=late):
            async with connect(config, app.target):
                pass
