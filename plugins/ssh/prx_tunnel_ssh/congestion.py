"""Back-pressure of an SSH connection as a whole."""

from __future__ import annotations

import asyncio
from typing import Protocol

from asyncssh.connection import SSHConnection


class Waiting(Protocol):
    """What writes into a channel, and waits for room."""

    def read_on(self) -> None: ...


class Congestion:
    """Whether the socket of an SSH connection is full.

    asyncssh writes as much as the windows of the channels allow, and those the other side chooses:
    one that grants much and reads nothing would have all of it buffered here.
    """

    def __init__(self) -> None:
        self._clear = asyncio.Event()
        self._clear.set()
        self._waiting: dict[Waiting, None] = {}

    @property
    def full(self) -> bool:
        return not self._clear.is_set()

    async def wait(self) -> None:
        """Wait until more can be written."""
        await self._clear.wait()

    def remember(self, waiting: Waiting) -> None:
        """Let it read on as soon as there is room again."""
        self._waiting[waiting] = None

    def forget(self, waiting: Waiting) -> None:
        self._waiting.pop(waiting, None)

    def pause_writing(self) -> None:
        self._clear.clear()

    def resume_writing(self) -> None:
        """There is room again; or the connection has ended, and nothing need wait for it."""
        self._clear.set()
        waiting, self._waiting = self._waiting, {}
        for each in waiting:
            each.read_on()


def watch(connection: SSHConnection) -> Congestion:
    """Listen to the transport of a connection; asyncssh leaves these two methods empty."""
    congestion = Congestion()
    connection.pause_writing = congestion.pause_writing  # type: ignore[method-assign]
    connection.resume_writing = congestion.resume_writing  # type: ignore[method-assign]
    return congestion
