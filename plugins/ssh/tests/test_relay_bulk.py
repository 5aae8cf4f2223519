"""Long transfers through the relay take turns, so that short ones are not held up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import asyncssh
import pytest
from prx_tunnel_ssh.congestion import Congestion
from prx_tunnel_ssh.relay.channel import BulkQueue, Channel

pytestmark = pytest.mark.anyio

CHUNK = bytes(16 * 1024)
MANY = 40


class Guest:
    """Delivers a chunk as soon as the channel reads, as asyncssh does."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        channel.connection_made(cast("asyncssh.SSHTCPChannel[bytes]", self))

    def resume_reading(self) -> None:
        self._channel.data_received(CHUNK)

    def pause_reading(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass


@pytest.mark.parametrize("direction", ["receive", "send"])
async def test_s03_a_turn_of_the_loop_carries_few_chunks_of_long_transfers(direction: str) -> None:
    """Many of them go on, none is left out, and a short one goes through at once."""
    bulk = BulkQueue()
    passed = [0] * MANY

    def channel() -> Channel:
        made = Channel(Congestion(), 10, bulk)
        Guest(made)
        return made

    async def move(each: Channel) -> None:
        await (each.receive() if direction == "receive" else each.send(CHUNK))

    async def transfer(number: int) -> None:
        each = channel()
        while True:
            await move(each)
            passed[number] += 1

    transfers = [asyncio.ensure_future(transfer(number)) for number in range(MANY)]
    turns = []  # of the first, each transfer passes as much as a short one does
    try:
        while min(passed) < 20:
            before = sum(passed)
            await asyncio.sleep(0)
            turns.append(sum(passed) - before)
        assert max(turns[5:]) <= MANY // 8
        assert max(passed) - min(passed) <= 1
        short, started = channel(), sum(passed)
        await move(short)
        assert sum(passed) - started <= MANY // 8
    finally:
        await _cancel(transfers)


async def test_a_transfer_that_is_given_up_takes_no_turn() -> None:
    bulk = BulkQueue()
    waiting = [asyncio.ensure_future(bulk.turn()) for _ in range(MANY)]
    await asyncio.sleep(0)
    await _cancel(waiting[:-1])
    async with asyncio.timeout(5):
        await waiting[-1]


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
