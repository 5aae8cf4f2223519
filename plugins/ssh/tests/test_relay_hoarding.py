"""S10: guests that have the relay keep more and more for them, each by another part of SSH."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncssh
import pytest
from asyncssh.constants import MSG_GLOBAL_REQUEST
from asyncssh.packet import Boolean, String, UInt32
from prx_tunnel_ssh.relay.grants import Grants
from prx_tunnel_ssh.relay.listening import listen
from ssh_programs import PATIENCE, StandaloneRelay

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def raw_guest(relay: StandaloneRelay) -> AsyncIterator[asyncssh.SSHClientConnection]:
    connection = await asyncssh.connect(
        "127.0.0.1", relay.port, username="x", client_keys=[str(relay.client_key)],
        known_hosts=None, config=None, agent_path=None,
    )  # fmt: skip
    try:
        yield connection
    finally:
        connection.abort()
        await connection.wait_closed()


async def test_s10_a_guest_that_does_not_finish_a_key_exchange(
    relay: StandaloneRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asyncssh keeps what is to be sent meanwhile, and the socket never becomes full."""
    monkeypatch.setattr("prx_tunnel_ssh.relay.connection.MOST_UNSENT", 1 << 20)
    opened = asyncio.Event()

    class Session(asyncssh.SSHTCPSession[bytes]):
        def data_received(self, data: bytes, datatype: int | None = None) -> None:
            opened.set()

    async with relay.here() as program, raw_guest(relay) as guest, asyncio.timeout(PATIENCE):
        listener = await guest.create_server(
            lambda _host, _port: Session(), "localhost", 0, encoding=None, window=1 << 30
        )
        _, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
        writer.write(b"x")
        await opened.wait()
        guest._send_kexinit()
        guest._recv_handler = lambda: False
        with suppress(ConnectionError):
            for _ in range(1000):
                writer.write(bytes(65_536))
                await writer.drain()
        writer.transport.abort()
        assert "too much waits" in await program.line("connection ended")


@pytest.mark.parametrize("size", [0, 200_000], ids=["many", "long"])
async def test_s10_requests_behind_one_that_waits(
    relay: StandaloneRelay, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def grant(*_: object) -> None:
        await gate.wait()

    monkeypatch.setattr(Grants, "grant", grant)
    async with relay.here() as program, raw_guest(relay) as guest, asyncio.timeout(PATIENCE):
        asked = (Boolean(False), String(""), UInt32(0))
        guest.send_packet(MSG_GLOBAL_REQUEST, String("tcpip-forward"), *asked)
        for _ in range(1 if size else 1000):
            guest.send_packet(MSG_GLOBAL_REQUEST, String("x"), Boolean(False), bytes(size))
        assert "requests" in await program.line("connection ended")
        gate.set()


async def test_s10_a_guest_that_reads_no_answers(
    relay: StandaloneRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = functools.partial(listen, buffers=4096)  # of the kernel
    monkeypatch.setattr("prx_tunnel_ssh.relay.server.listen", small)
    monkeypatch.setattr("prx_tunnel_ssh.relay.connection.MOST_UNSENT", 1 << 15)
    async with relay.here() as program, raw_guest(relay) as guest, asyncio.timeout(PATIENCE):
        transport = guest._transport
        assert transport is not None
        transport.pause_reading()
        ended = asyncio.ensure_future(program.line("connection ended"))
        while not ended.done():
            if transport.get_write_buffer_size() < 65_536:
                for _ in range(500):
                    guest.send_packet(MSG_GLOBAL_REQUEST, String("x"), Boolean(True))
            await asyncio.sleep(0)
        assert "too much waits" in await ended
