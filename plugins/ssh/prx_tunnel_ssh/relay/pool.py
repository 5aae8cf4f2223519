"""A bounded number of connections, shared fairly between groups."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Members of groups (addresses, tenants), at most `most`. Every method takes constant time.

    A full pool makes room for a newcomer at the cost of the group with the most members: the one
    that has been idle for longest is evicted. A group cannot displace a member of a smaller one.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._clock = clock
        self._group_of: dict[T, str] = {}
        # All three are in the order of the last activity, the longest idle first.
        self._members: dict[str, dict[T, float]] = {}
        self._by_size: dict[int, dict[str, None]] = {}
        self._largest = 0

    def __len__(self) -> int:
        return len(self._group_of)

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._group_of))

    def __contains__(self, member: object) -> bool:
        return member in self._group_of

    @property
    def full(self) -> bool:
        return len(self) >= self.most

    def count(self, group: str) -> int:
        return len(self._members.get(group, ()))

    def is_largest(self, group: str) -> bool:
        """Whether no group has more members."""
        return self.count(group) >= self._largest

    def longest_idle(self, group: str, *, idle: float) -> T | None:
        """The member of the group that has been idle for longest, and at least `idle` seconds."""
        for member, moved in self._members.get(group, {}).items():
            return member if self._clock() - moved >= idle else None
        return None

    def enter(self, member: T, group: str) -> None:
        self._group_of[member] = group
        members = self._members.setdefault(group, {})
        members[member] = self._clock()
        self._resize(group, len(members) - 1, len(members))

    def leave(self, member: T) -> bool:
        """Whether it was in the pool."""
        group = self._group_of.pop(member, None)
        if group is None:
            return False
        members = self._members[group]
        del members[member]
        if not members:
            del self._members[group]
        self._resize(group, len(members) + 1, len(members))
        return True

    def touch(self, member: T) -> None:
        """The member has just been active."""
        group = self._group_of.get(member)
        if group is not None:
            members = self._members[group]
            del members[member]
            members[member] = self._clock()
            self._resize(group, len(members), len(members))

    def victim(self, group: str, *, idle: float = 0.0) -> T | None:
        """The member that a newcomer of this group may displace, if any.

        A member whose group would still be as large as that of the newcomer can be displaced at
        once, another only when it has been idle for `idle` seconds.
        """
        if not self._group_of:
            return None
        size = self.count(group)
        if size < self._largest:
            group = next(iter(self._by_size[self._largest]))
        unfair = self._largest >= size + 2
        return self.longest_idle(group, idle=0.0 if unfair else idle)

    def _resize(self, group: str, before: int, after: int) -> None:
        if before:
            groups = self._by_size[before]
            del groups[group]
            if not groups:
                del self._by_size[before]
        if after:
            self._by_size.setdefault(after, {})[group] = None
        if after > self._largest:
            self._largest = after
        elif self._largest not in self._by_size:
            self._largest = after  # sizes change by one, so this group is the largest still
