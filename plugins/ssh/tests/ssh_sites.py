"""A relay with web sites, and visitors who send exactly the bytes they want."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trustme
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.connect import connect
from ssh_programs import PATIENCE, Inside, Program, StandaloneRelay

from prx_tunnel_core.backend import Connection, Target

CLOSE = "Connection: close\r\n"
SITE = ("--domain", "t.test", "--http", "127.0.0.1:0")
PATTERN = r"(https?://\S+)"


def certificate_in(file: Path, authority: trustme.CA) -> None:
    """A certificate for the sites, and its key, that only this user can read."""
    file.touch(0o600)
    authority.issue_cert("*.t.test").private_key_and_cert_chain_pem.write_to_path(str(file))


async def site_port(program: Inside | Program) -> int:
    line = await program.line("relay up")
    return int(line.partition("http=")[2].split()[0])


@asynccontextmanager
async def open_site(
    relay: StandaloneRelay, target: Target, **more: object
) -> AsyncIterator[Connection]:
    config = SshConfig(**relay.settings(remote_port=80, url_pattern=PATTERN, **more))
    async with asyncio.timeout(PATIENCE), connect(config, target) as connection:
        yield connection


def host_of(connection: Connection) -> str:
    return connection.public_url.partition("//")[2].partition(":")[0]


async def speak(port: int, *parts: bytes) -> bytes:
    """Everything that is answered to these bytes until the relay ends the connection."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in parts:
            writer.write(part)
            await writer.drain()
        answer = await reader.read(-1)
        writer.close()
        return answer


def request(host: str, more: str = "", body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"POST /hook?a=b HTTP/1.1\r\nHost: {host}\r\n{length}{more}\r\n".encode() + body
