"""The relay under attack, in its own process: who gets through, and what it costs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from relay_load import measure, resident
from ssh_programs import PATIENCE, App, StandaloneRelay, run
from ssh_sites import SITE, host_of, open_site, request, site_port

pytestmark = pytest.mark.anyio


@pytest.mark.timeout(300)
async def test_s03_honest_visitors_are_answered_beside_hostile_ones(tmp_path: Path) -> None:
    """A short form of `python relay_load.py 10000 60`."""
    result = await measure(tmp_path, hostile=600, seconds=8)
    assert result.hostile > 300
    assert result.in_time >= 0.99
    assert result.logged_in >= 0.99
    assert result.memory < 200_000_000
    assert result.lines < 1500


async def test_s09_at_a_low_descriptor_limit(relay: StandaloneRelay, app: App) -> None:
    limited = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", sys.executable]
    command = [*limited, "-m", "prx_tunnel_ssh.relay", *relay.arguments(*SITE)]
    idle = []
    async with run(command) as program:
        relay.trust(await program.line("relay up"))
        await program.line("limits lowered")
        async with open_site(relay, app.target) as connection, asyncio.timeout(PATIENCE):
            port, host = await site_port(program), host_of(connection)
            for number in range(600):
                where = relay.port if number % 3 == 0 else port
                source = f"127.0.3.{number % 20 + 1}"
                idle.append(
                    await asyncio.open_connection("127.0.0.1", where, local_addr=(source, 0))
                )
            for _ in range(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request(host))
                assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
                writer.transport.abort()
        for _, writer in idle:
            writer.transport.abort()
        assert sum("cannot accept" in line for line in program.lines) <= 1
        assert len(program.lines) < 600  # three kinds of events


def open_files(pid: int) -> list[str]:
    """The soft and the hard limit of a process."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    (row,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
    return row.split()[3:5]


async def test_s09_the_soft_limit_is_raised_to_the_hard_one(relay: StandaloneRelay) -> None:
    limited = ["sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh", sys.executable]
    async with run([*limited, "-m", "prx_tunnel_ssh.relay", *relay.arguments()]) as program:
        await program.line("relay up")
        assert len(set(open_files(program.process.pid))) == 1


HOST = """
import asyncio, socket, sys
from prx_tunnel_core.backend import Target
from prx_tunnel_ssh.connect import connect
from prx_tunnel_ssh.config import SshConfig

async def main():
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as app:  # accepts, and never reads
        async with connect(SshConfig(), Target("127.0.0.1", app.getsockname()[1])) as connection:
            print("up", connection.public_url, flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_s10_an_app_that_does_not_read_costs_the_host_little() -> None:
    async with run([sys.executable, "-c", HOST]) as host, asyncio.timeout(3 * PATIENCE):
        port = int((await host.line("up http")).rpartition(":")[2])
        before = resident(host.process.pid)
        writers = []
        for _ in range(250):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
        quiet = 0
        while quiet < 30:  # until nobody can push any more
            pushed = 0
            for writer in writers:
                if writer.transport.get_write_buffer_size() == 0:
                    writer.write(bytes(65_536))
                    pushed += 1
            quiet = 0 if pushed else quiet + 1
            await asyncio.sleep(0.02)
        assert resident(host.process.pid) - before < 120_000_000
        for writer in writers:
            writer.transport.abort()
