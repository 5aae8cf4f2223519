"""The visitors of all tunnels, and which of them has to go when there are too many."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from prx_tunnel_ssh.relay.limits import Rate
from prx_tunnel_ssh.relay.pool import Pool
from prx_tunnel_ssh.relay.settings import Limits

BUSY_SECONDS = 5.0
"""A visitor that has moved something within this time does not go for one that has no less."""
# Connections that came in one burst with a newcomer are no less worth than it.
_BURST_SECONDS = 1.0
# A quarter of the places is for those who have not asked for anything yet.
_SHARE_OF_IDLE = 4


class Visitor(Protocol):
    """A connection of a stranger."""

    source: str
    """Its address, as `source_of` has it."""

    def evict(self) -> None:
        """End the connection at once."""


def make_room(pool: Pool[Visitor], group: str) -> bool:
    """Whether a visitor of this group can enter; another may have to go for it."""
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

    A visitor is idle until it asks for something, and between two requests. Idle ones go first, as
    long as they have more than a quarter of the places.
    """

    def __init__(self, limits: Limits, proxies: Collection[str] = ()) -> None:
        """`proxies` are sources that stand for many visitors, and have no share of their own."""
        self._most = limits.visitors_in_all
        self._proxies = frozenset(proxies)
        self._wasted = Rate(limits.wasted_per_minute)
        # Of the web sites, by address; of these, who is idle; and of all, by tenant, who is not.
        self._of_sites: Pool[Visitor] = Pool(limits.visitors_per_address)
        self._idle: Pool[Visitor] = Pool(self._most)
        self._served: Pool[Visitor] = Pool(self._most)

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
        """An idle visitor asks for something of this tenant."""
        if self._idle.leave(visitor):
            self._served.enter(visitor, tenant)

    def rest(self, visitor: Visitor) -> None:
        """A visitor of a web site has got its answer."""
        if self._served.leave(visitor):
            self._idle.enter(visitor, visitor.source)

    def finish(self, visitor: Visitor) -> None:
        """A visitor has got its last answer, and need only take it: it counts for nobody now."""
        self.leave(visitor)
        self._idle.enter(visitor, "")

    def touch(self, visitor: Visitor) -> None:
        """The visitor has moved something."""
        self._served.touch(visitor)

    def waste(self, visitor: Visitor) -> None:
        """The connection came to nothing: it counts against its address.

        What an address holds is bounded, but each connection costs a handshake, however short it
        is kept.
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
            # An address that has the most already does not get another by ending and opening them
            # ever faster: each costs a handshake.
            patience = BUSY_SECONDS if self._idle.is_largest(source) else 0.0
            victim = self._idle.victim(source, idle=patience)
        if victim is None:
            return False
        self._evict(victim)
        return True

    def _evict(self, victim: Visitor) -> None:
        self.leave(victim)
        victim.evict()
