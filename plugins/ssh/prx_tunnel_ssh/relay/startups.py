"""SSH connections that have not logged in yet, limited as by MaxStartups of OpenSSH."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

from prx_tunnel_ssh.relay.crowd import Visitor
from prx_tunnel_ssh.relay.pool import Pool
from prx_tunnel_ssh.relay.settings import Limits

# A login in progress takes no longer, as a rule.
_LOGIN_SECONDS = 2.0


class Startups:
    """Evicts silent connections before the pool is full.

    From half of the pool on, a newcomer displaces another connection with growing probability: one
    of the address with the most connections, or one that has taken longer than a login does.
    OpenSSH drops the newcomer instead, so an attacker that keeps the pool full keeps others out.
    """

    def __init__(
        self,
        limits: Limits,
        chance: Callable[[], float] = random.random,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool: Pool[Visitor] = Pool(limits.startups, clock=clock)
        self._chance = chance

    def __len__(self) -> int:
        return len(self._pool)

    def count(self, source: str) -> int:
        return self._pool.count(source)

    def has_room(self, source: str) -> bool:
        """Whether another connection of this address can enter; one may be evicted for it."""
        begin = self._pool.most // 2
        pressure = (len(self._pool) - begin) / (self._pool.most - begin)
        if self._chance() >= pressure:
            return True
        # The address with the most connections waits until another has had time to log in.
        full = pressure >= 1
        patience = 0.0 if full and not self._pool.is_largest(source) else _LOGIN_SECONDS
        victim = self._pool.victim(source, idle=patience)
        self._evict(victim)
        return victim is not None or not full

    def enter(self, guest: Visitor) -> None:
        self._pool.enter(guest, guest.source)

    def make_room(self, source: str) -> bool:
        """Whether a connection of an address that has more than this one was evicted."""
        victim = self._pool.victim(source, idle=math.inf)
        self._evict(victim)
        return victim is not None

    def leave(self, guest: Visitor) -> None:
        self._pool.leave(guest)

    def _evict(self, victim: Visitor | None) -> None:
        if victim is not None:
            self._pool.leave(victim)
            victim.evict()
