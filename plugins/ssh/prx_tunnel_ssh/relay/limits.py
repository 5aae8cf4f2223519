"""Limits by address or key: connections at a time, and events in a minute."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network

_MOST_SOURCES = 10_000


class Places:
    """A number of places per holder."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._taken: Counter[str] = Counter()

    def take(self, holder: str) -> bool:
        """Take a place; False when the holder has taken all of its places."""
        if self._taken[holder] >= self._each:
            return False
        self._taken[holder] += 1
        return True

    def give_back(self, holder: str) -> None:
        self._taken[holder] -= 1
        if self._taken[holder] <= 0:
            del self._taken[holder]

    def __len__(self) -> int:
        """The number of holders."""
        return len(self._taken)


class Rate:
    """At most `per_minute` events of one source in a minute on average, or in one burst."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        # Sources of this minute, and of the one before. They are replaced as a whole, so that no
        # event has to search through the others.
        self._buckets: dict[str, tuple[float, float]] = {}
        self._earlier: dict[str, tuple[float, float]] = {}
        self._since = clock()

    def allows(self, source: str) -> bool:
        """Count one event of the source; False when it is one too many."""
        now = self._clock()
        if now - self._since >= 60 or len(self._buckets) >= _MOST_SOURCES:
            self._earlier, self._buckets, self._since = self._buckets, {}, now
        left = self._left(source, now)
        allowed = left >= 1
        self._buckets[source] = (left - 1 if allowed else left, now)
        return allowed

    def is_exhausted(self, source: str) -> bool:
        """Whether another event of the source would be one too many; counts none."""
        return self._left(source, self._clock()) < 1

    def _left(self, source: str, now: float) -> float:
        fresh = (float(self._per_minute), now)
        left, then = self._buckets.get(source) or self._earlier.get(source) or fresh
        return min(self._per_minute, left + (now - then) * self._per_minute / 60)


def source_of(address: str) -> str:
    """The source that limits count: the address or, for IPv6, its /64 network (one host's)."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network(f"{parsed}/64", strict=False))
    return str(parsed)
