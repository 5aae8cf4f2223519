"""H: a client of the control socket that wants to use the tunnel's host up."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from support.control import call, served
from support.proc import descriptors, memory

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("runtime")]

AT_ONCE = 250
MEGABYTE = b"x" * (1 << 20)


def crowd(address: str) -> int:
    """How many of these connections were made; all are open at the same time."""
    clients = [socket.socket(socket.AF_UNIX) for _ in range(AT_ONCE)]
    try:
        for client in clients:
            client.setblocking(True)
            client.connect(address)
        return len(clients)
    finally:
        for client in clients:
            client.close()


def pour(address: str) -> int:
    """Megabytes of a line without an end that were taken, of a hundred."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)
        for number in range(100):
            try:
                client.sendall(MEGABYTE)
            except OSError:
                return number
    return 100


async def test_h11_ten_thousand_connections(runtime: Path) -> None:
    address = str(runtime / "default.sock")
    async with served() as tunnel:
        await anyio.to_thread.run_sync(crowd, address)
        before, made = len(descriptors()), 0
        while made < 10_000:
            made += await anyio.to_thread.run_sync(crowd, address)
            if made % 2500 == 0:
                assert (await call("status")).code == 0
        with anyio.fail_after(10):
            while len(descriptors()) > before + 40:  # the last of them are being let go
                await anyio.sleep(0.01)
        assert type(tunnel.status).__name__ == "Connected"


async def test_h11_a_line_of_a_hundred_megabytes(runtime: Path) -> None:
    async with served():
        before = memory()
        taken = await anyio.to_thread.run_sync(partial(pour, str(runtime / "default.sock")))
        assert taken < 5
        assert memory() - before < 16 << 20
        assert (await call("status")).code == 0
