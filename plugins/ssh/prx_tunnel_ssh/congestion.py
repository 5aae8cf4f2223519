"""Back-pressure for a whole SSH connection."""

from __future__ import annotations

import asyncio
from typing import Protocol

from asyncssh.connection import SSHConnection


class Waiting(Protocol):
    """A writer to a channel that waits until the SSH connection can send again."""

    def read_on(self) -> None: ...


class Congestion:
    """Whether the send buffer of an SSH connection is full.

    asyncssh writes as much as the windows of the channels allow. The peer chooses these windows: if
    it granted large ones and read nothing, all data would be buffered in this process.
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
        """Call its `read_on` as soon as the connection can send again."""
        self._waiting[waiting] = None

    def forget(self, waiting: Waiting) -> None:
        self._waiting.pop(waiting, None)

    def pause_writing(self) -> None:
        self._clear.clear()

    def resume_writing(self) -> None:
        """Wake all waiters: the connection can send again, or has ended."""
        self._clear.set()
        waiting, self._waiting = self._waiting, {}
        for each in waiting:
            each.read_on()


def watch(connection: SSHConnection) -> Congestion:
    """Observe the transport of a connection through two methods that asyncssh leaves empty."""
    congestion = Congestion()
    connection.pause_writing = congestion.pause_writing  # type: ignore[method-assign]
    connection.resume_writing = congestion.resume_writing  # type: ignore[method-assign]
    return congestion
