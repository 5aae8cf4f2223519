"""A backend without a process or a socket: what happens to it, a test decides."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from prx_tunnel_core.backend import Backend, Connection, Target
from prx_tunnel_core.config import BackendConfig
from prx_tunnel_core.models import Check


class MemoryConfig(BackendConfig):
    url: str = "https://agent.example.com"


class MemoryConnection(Connection):
    def __init__(self, url: str) -> None:
        self.public_url = url
        self.word: Check | None = None
        self.closing = False
        self._dropped = anyio.Event()
        self._reason: str | Exception = ""

    @property
    def dropped(self) -> bool:
        return self._dropped.is_set()

    def drop(self, reason: str | Exception = "dropped") -> None:
        """An exception is what `wait_closed` raises."""
        self._reason = reason
        self._dropped.set()

    async def wait_closed(self) -> str:
        await self._dropped.wait()
        if isinstance(self._reason, Exception):
            raise self._reason
        return self._reason

    async def check(self) -> Iterable[Check]:
        return () if self.word is None else (self.word,)


@dataclass
class Memory:
    """The provider's side: how the next attempts go, and what is open now."""

    errors: list[BaseException] = field(default_factory=list)
    """Raised by the next attempts, one each; then they succeed."""
    delay: float = 0.0
    """Seconds that connecting takes; `math.inf` never connects."""
    teardown: float = 0.0
    attempts: int = 0
    most_open: int = 0
    open: list[MemoryConnection] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    opening: int = 0

    @property
    def connection(self) -> MemoryConnection:
        (connection,) = self.open
        return connection

    def backend(self) -> Backend[MemoryConfig]:
        return Backend(
            name="memory", summary="for tests", config=MemoryConfig, connect=self.connect
        )

    @asynccontextmanager
    async def connect(self, config: MemoryConfig, target: Target) -> AsyncIterator[Connection]:
        self.attempts += 1
        self.times.append(anyio.current_time())
        self.opening += 1
        self.most_open = max(self.most_open, self.opening + len(self.open))
        try:
            await (anyio.sleep_forever() if self.delay == math.inf else anyio.sleep(self.delay))
            if self.errors:
                raise self.errors.pop(0)
        finally:
            self.opening -= 1
        connection = MemoryConnection(self.names.pop(0) if self.names else config.url)
        self.open.append(connection)
        try:
            yield connection
        finally:
            connection.closing = True
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self.teardown)
            self.open.remove(connection)


class FakeProber:
    """Answers of the local port and the public URL, as a test sets them."""

    def __init__(self) -> None:
        self.local_verdict = Check("local", "ok")
        self.public_verdict = Check("public", "ok")
        self.takes = 0.0
        self.asked = 0
        self.running = 0
        self.most_running = 0

    async def local(self, target: Target) -> Check:
        return self.local_verdict

    async def public(self, url: str, *, connected_for: float) -> tuple[Check, float | None]:
        self.asked += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await anyio.sleep(self.takes)
        finally:
            self.running -= 1
        return self.public_verdict, 0.01

    async def aclose(self) -> None:
        return None
