"""Pass values on to whoever watches, without ever waiting for them."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

import anyio

from prx_tunnel_core import access
from prx_tunnel_core.models import Connected, Connecting, Reconnecting, TunnelInfo, TunnelStatus

T = TypeVar("T")

KEPT = 64  # values that a slow watcher may lag behind


class Watch(AsyncIterator[T], Generic[T]):
    """One watcher's own queue: the oldest values give way, the latest always arrives."""

    def __init__(self, kept: int = KEPT) -> None:
        self._values: deque[T] = deque(maxlen=kept)
        self._closed = False
        self._news = anyio.Event()

    def put(self, value: T) -> None:
        self._values.append(value)
        self._news.set()

    def close(self) -> None:
        """What is queued still arrives; then the iteration ends."""
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
    """The status of a tunnel, and all who watch it."""

    def __init__(self, now: TunnelStatus) -> None:
        self.now = now
        self.closed = False
        """Whether no other status will come."""
        self._changed = anyio.Event()
        self._watches: weakref.WeakSet[Watch[TunnelStatus]] = weakref.WeakSet()

    @property
    def info(self) -> TunnelInfo | None:
        return self.now.info if isinstance(self.now, Connected) else None

    def put(self, new: TunnelStatus) -> bool:
        """Tell everybody; whether it is a change at all."""
        if new == self.now:
            return False
        self.now = new
        if isinstance(new, Connected):
            access.connected[self] = new.info
        elif not isinstance(new, Connecting | Reconnecting):  # else requests may still be under way
            access.connected.pop(self, None)
        for watch in list(self._watches):
            watch.put(new)
        self._wake()
        return True

    async def change(self) -> None:
        """Return at the next change, or when it is closed."""
        await self._changed.wait()

    def watch(self) -> Watch[TunnelStatus]:
        """Each new status from now on, until `close`."""
        watch: Watch[TunnelStatus] = Watch()
        if self.closed:
            watch.close()
        self._watches.add(watch)
        return watch

    def urls(self) -> Urls:
        return Urls(self.watch(), self.info)

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


class Urls(AsyncIterator[str]):
    """Of a watch's statuses, each public URL that differs from the one before."""

    def __init__(self, statuses: AsyncIterator[TunnelStatus], now: TunnelInfo | None) -> None:
        self._statuses = statuses
        self._now = now
        self._last: str | None = None

    def __aiter__(self) -> Urls:
        return self

    async def __anext__(self) -> str:
        info, self._now = self._now, None
        while info is None or info.public_url == self._last:
            status = await anext(self._statuses)
            info = status.info if isinstance(status, Connected) else None
        self._last = info.public_url
        return self._last
