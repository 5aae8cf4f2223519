"""Publishes the status of a tunnel to its watchers, without ever waiting for them."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import anyio

from prx_tunnel_core import access
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import (
    Connected,
    Connecting,
    Idle,
    Reconnecting,
    TunnelInfo,
    TunnelStatus,
)

logger = get_logger("prx_tunnel_core")

T = TypeVar("T")

KEPT = 64  # values that a slow watcher may lag behind


class Watch(AsyncIterator[T], Generic[T]):
    """The queue of one watcher: when it is full, the oldest value is dropped, never the latest."""

    def __init__(self, kept: int = KEPT) -> None:
        self._values: deque[T] = deque(maxlen=kept)
        self._closed = False
        self._news = anyio.Event()

    def put(self, value: T) -> None:
        self._values.append(value)
        self._news.set()

    def close(self) -> None:
        """Queued values still arrive; then the iteration ends."""
        self._closed = True
        self._news.set()

    def __aiter__(self) -> Watch[T]:
        return self

    async def __anext__(self) -> T:
        while not self._values:
            if self._closed:
                raise StopAsyncIteration
            self._news = anyio.Event()
            await self._news.wait()
        return self._values.popleft()


class StatusBroadcast:
    """The current status of a tunnel, and everything that is notified when it changes.

    `on_status` is called with each new status; its exceptions are logged.
    """

    def __init__(self, on_status: Callable[[TunnelStatus], object] | None = None) -> None:
        self.now: TunnelStatus = Idle()
        self.closed = False
        """Whether no other status will come."""
        self._on_status = on_status
        self._listeners: list[Callable[[TunnelStatus, TunnelStatus], None]] = []
        self._changed = anyio.Event()
        self._watches: weakref.WeakSet[Watch[TunnelStatus]] = weakref.WeakSet()

    @property
    def info(self) -> TunnelInfo | None:
        return self.now.info if isinstance(self.now, Connected) else None

    def listen(self, listener: Callable[[TunnelStatus, TunnelStatus], None]) -> None:
        """Call it with the old and the new status at each change, before `on_status`."""
        self._listeners.append(listener)

    def put(self, new: TunnelStatus) -> None:
        """Publish a status; one that equals the current status is no change."""
        old = self.now
        if new == old:
            return
        self.now = new
        if isinstance(new, Connected):
            access.connected[self] = new.info
        elif not isinstance(new, Connecting | Reconnecting):  # else requests may still be under way
            access.connected.pop(self, None)
        for watch in list(self._watches):
            watch.put(new)
        self._wake()
        for listener in self._listeners:
            listener(old, new)
        self._call_host(new)

    async def change(self) -> None:
        """Return at the next change, or when it is closed."""
        await self._changed.wait()

    def watch(self) -> Watch[TunnelStatus]:
        """The current status, then each new one, until `close`."""
        watch: Watch[TunnelStatus] = Watch()
        watch.put(self.now)
        if self.closed:
            watch.close()
        self._watches.add(watch)
        return watch

    def urls(self) -> Urls:
        """Of the statuses that `watch` yields, each public URL that differs from the previous."""
        return Urls(self.watch())

    def open(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True
        access.connected.pop(self, None)
        for watch in list(self._watches):
            watch.close()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _call_host(self, new: TunnelStatus) -> None:
        if self._on_status is None:
            return
        try:
            self._on_status(new)
        except (Exception, SystemExit):
            logger.exception("the on_status callback raised an exception; the tunnel goes on")


class Urls(AsyncIterator[str]):
    """Of the statuses of a watch, each public URL that differs from the previous one."""

    def __init__(self, statuses: AsyncIterator[TunnelStatus]) -> None:
        self._statuses = statuses
        self._last: str | None = None

    def __aiter__(self) -> Urls:
        return self

    async def __anext__(self) -> str:
        async for status in self._statuses:
            if isinstance(status, Connected) and status.info.public_url != self._last:
                self._last = status.info.public_url
                return self._last
        raise StopAsyncIteration
