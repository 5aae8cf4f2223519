"""What nobody can have from the relay, asked for with OpenSSH's client."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import asyncssh
import pytest
from ssh_programs import PATIENCE, App, StandaloneRelay, make_key, run

pytestmark = pytest.mark.anyio


async def ssh(relay: StandaloneRelay, *arguments: str, key: Path | None = None) -> str:
    """What the client says until it gives up, which it must."""
    async with run(relay.ssh(*arguments, key=key)) as client:
        assert await client.wait() != 0
        await client.line("")
        return client.output


async def test_a_stranger_without_an_accepted_key(relay: StandaloneRelay, tmp_path: Path) -> None:
    stranger = make_key(tmp_path / "stranger")
    async with relay.serve() as program:
        for arguments in (["-N", "-R", "0:127.0.0.1:9"], ["-T"], ["-W", "127.0.0.1:9"]):
            said = await ssh(relay, *arguments, "127.0.0.1", key=stranger)
            assert "Permission denied (publickey)" in said
        await program.line("key refused")
        assert "authenticated" not in program.output


async def test_a_stranger_who_guesses_a_password(relay: StandaloneRelay) -> None:
    async with relay.here():
        with pytest.raises(asyncssh.PermissionDenied):
            await asyncssh.connect(
                "127.0.0.1", relay.port, username="root", password="root", client_keys=None,
                known_hosts=None, config=None, agent_path=None,
            )  # fmt: skip


@pytest.mark.parametrize("domain", [[], ["--domain", "t.test", "--http", "127.0.0.1:0"]])
async def test_a_key_opens_no_shell_and_runs_nothing(
    relay: StandaloneRelay, tmp_path: Path, domain: list[str]
) -> None:
    mark = tmp_path / "mark"
    async with relay.here(*domain):
        for arguments in (
            ["127.0.0.1", f"touch {mark}"],
            ["-s", "127.0.0.1", "sftp"],
            ["-tt", "127.0.0.1", f"touch {mark}"],
        ):
            said = await ssh(relay, *arguments)
            assert any(
                word in said for word in ("refused", "failed", "Session refused", "not permitted")
            ), said
    assert not mark.exists()


async def test_without_a_domain_there_is_no_session_at_all(relay: StandaloneRelay) -> None:
    async with relay.here():
        assert "Session refused" in await ssh(relay, "127.0.0.1")


async def test_a_key_reaches_nothing_behind_the_relay(relay: StandaloneRelay, app: App) -> None:
    async with relay.here():
        inner = f"127.0.0.1:{app.target.port}"
        said = await ssh(relay, "-W", inner, "127.0.0.1")
        assert "open failed" in said
    assert app.requests == []


async def test_a_key_forwards_no_port_of_its_own_side_either(
    relay: StandaloneRelay, app: App, unused_port: int
) -> None:
    async with (
        relay.here(),
        run(
            relay.ssh("-N", "-v", "-L", f"{unused_port}:127.0.0.1:{app.target.port}", "127.0.0.1")
        ) as client,
    ):
        await client.line("Entering interactive session")
        reader, writer = await asyncio.open_connection("127.0.0.1", unused_port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(ConnectionResetError):
            async with asyncio.timeout(PATIENCE):
                assert await reader.read(-1) == b""
        writer.close()
        await client.line("open failed")
    assert app.requests == []


async def test_a_key_has_only_the_ports_that_are_allowed(
    relay: StandaloneRelay, tmp_path: Path
) -> None:
    async with relay.here("--ports", "0,30000-30010"):
        for asked in ("22222", "0.0.0.0:22222", str(tmp_path / "socket")):
            said = await ssh(relay, "-N", "-R", f"{asked}:127.0.0.1:9", "127.0.0.1")
            assert "forwarding failed" in said or "forwarding request failed" in said
    assert not (tmp_path / "socket").exists()


async def test_a_key_has_only_so_many_tunnels(relay: StandaloneRelay) -> None:
    two = ["-R", "0:127.0.0.1:9", "-R", "0:127.0.0.1:10"]
    async with relay.here("--tunnels-per-key", "1") as program:
        said = await ssh(relay, "-N", *two, "127.0.0.1")
        assert "remote port forwarding failed" in said
        await program.line('reason="too many tunnels with this key"')


async def test_a_tun_device_is_refused(relay: StandaloneRelay) -> None:
    async with relay.here():
        connection = await asyncssh.connect(
            "127.0.0.1", relay.port, username="x", client_keys=[str(relay.client_key)],
            known_hosts=str(relay.known_hosts), config=None, agent_path=None,
        )  # fmt: skip
        async with connection:
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_tun(asyncssh.SSHTunTapSession)
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_unix_connection("/run/anything")


async def test_visitors_come_in_at_the_loopback_only(relay: StandaloneRelay) -> None:
    """Whatever address the client asks for: which one it is, the relay's own `--bind` says."""
    async with relay.here() as program:
        command = relay.ssh("-N", "-R", "0.0.0.0:0:127.0.0.1:9", "127.0.0.1")
        async with run(command) as client:
            await client.line("Allocated port")
            port = int((await program.line("forwarding")).rpartition("port=")[2])
            assert listening_at(port) == ["0100007F"]


def listening_at(port: int) -> list[str]:
    """The local addresses, in the kernel's spelling, at which something listens on the port."""
    rows = Path("/proc/net/tcp").read_text().split("\n")
    return [row.split()[1][:8] for row in rows if f":{port:04X} 00000000:0000" in row]
