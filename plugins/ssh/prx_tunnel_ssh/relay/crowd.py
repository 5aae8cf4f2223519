"""The visitors of all tunnels, and which of them is evicted when there are too many."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Protocol

from prx_tunnel_ssh.relay.limits import Rate
from prx_tunnel_ssh.relay.pool import Pool
from prx_tunnel_ssh.relay.settings import Limits

BUSY_SECONDS = 5.0
"""A visitor that has sent or received within this time is not evicted for one of an equal share."""
# Connections that arrived in one burst with a newcomer are worth as much as it.
_BURST_SECONDS = 1.0
# A quarter of the places is for visitors that have not requested anything yet.
_SHARE_OF_IDLE = 4


class Visitor(Protocol):
    """A connection that is not authenticated."""

    source: str
    """Its address, as `source_of` has it."""

    def evict(self) -> None:
        """End the connection at once."""


def make_room(pool: Pool[Visitor], group: str) -> bool:
    """Whether a visitor of this group can enter; another may be evicted for it."""
    if not pool.full:
        return True
    victim = pool.victim(group, idle=BUSY_SECONDS)
    if victim is None:
        return False
    pool.leave(victim)
    victim.evict()
    return True


class Crowd:
    """At most so many visitors, with a fair share for each address and for each tenant.

    A visitor is idle before its first request and between two requests. Idle ones are evicted
    first, as long as they have more than a quarter of the places.
    """

    def __init__(
        self,
        limits: Limits,
        proxies: Collection[str] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`proxies` are sources that stand for many visitors, and are not limited to one share."""
        self._most = limits.visitors_in_all
        self._proxies = frozenset(proxies)
        self._wasted = Rate(limits.wasted_per_minute, clock=clock)
        # All visitors of web sites, by address; the idle ones among them, by address; visitors of
        # web sites and ports that are being served, by tenant.
        self._of_sites: Pool[Visitor] = Pool(limits.visitors_per_address, clock=clock)
        self._idle: Pool[Visitor] = Pool(self._most, clock=clock)
        self._served: Pool[Visitor] = Pool(self._most, clock=clock)

    def __len__(self) -> int:
        return len(self._idle) + len(self._served)

    def arrive(self, visitor: Visitor) -> bool:
        """Take a connection to the web sites; False when there is no room for it."""
        source = visitor.source
        if self._is_wasteful(source):
            return False
        if self._of_sites.count(source) >= self._of_sites.most and source not in self._proxies:
            victim = self._idle.longest_idle(source, idle=_BURST_SECONDS)
            if victim is None:
                return False
            self._evict(victim)
        if not self._has_room(source, ""):
            return False
        self._of_sites.enter(visitor, source)
        self._idle.enter(visitor, source)
        return True

    def arrive_at(self, visitor: Visitor, tenant: str) -> bool:
        """Take a connection to a port of this tenant; False when there is no room for it."""
        if self._is_wasteful(visitor.source) or not self._has_room(visitor.source, tenant):
            return False
        self._served.enter(visitor, tenant)
        return True

    def serve(self, visitor: Visitor, tenant: str) -> None:
        """An idle visitor requests something from this tenant."""
        if self._idle.leave(visitor):
            self._served.enter(visitor, tenant)

    def rest(self, visitor: Visitor) -> None:
        """A visitor of a web site has received its response."""
        if self._served.leave(visitor):
            self._idle.enter(visitor, visitor.source)

    def finish(self, visitor: Visitor) -> None:
        """A visitor only has to read its last response: it no longer counts for its address."""
        self.leave(visitor)
        self._idle.enter(visitor, "")

    def touch(self, visitor: Visitor) -> None:
        """The visitor has sent or received something."""
        self._served.touch(visitor)

    def waste(self, visitor: Visitor) -> None:
        """Count a connection without a complete request against its address.

        The number of connections of an address is bounded, but each new one costs a handshake,
        however briefly it lasts.
        """
        self._wasted.allows(visitor.source)

    def leave(self, visitor: Visitor) -> None:
        for pool in (self._of_sites, self._idle, self._served):
            pool.leave(visitor)

    def _is_wasteful(self, source: str) -> bool:
        return source not in self._proxies and self._wasted.is_exhausted(source)

    def _has_room(self, source: str, tenant: str) -> bool:
        if len(self) < self._most:
            return True
        victim = None
        if len(self._idle) <= self._most // _SHARE_OF_IDLE:
            victim = self._served.victim(tenant, idle=BUSY_SECONDS)
        if victim is None:
            # The address with the most connections gains nothing from opening and closing them
            # faster, which would cost a handshake each.
            patience = BUSY_SECONDS if self._idle.is_largest(source) else 0.0
            victim = self._idle.victim(source, idle=patience)
        if victim is None:
            return False
        self._evict(victim)
        return True

    def _evict(self, victim: Visitor) -> None:
        self.leave(victim)
        victim.evict()
