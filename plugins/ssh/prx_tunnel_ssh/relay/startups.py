"""SSH connections that have not logged in yet: a pool of their own, as OpenSSH's MaxStartups."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from prx_tunnel_ssh.relay.crowd import Visitor
from prx_tunnel_ssh.relay.pool import Pool
from prx_tunnel_ssh.relay.settings import Limits

# A login that goes on takes no longer, as a rule.
_LOGIN_SECONDS = 2.0


class Startups:
    """Silent connections make room for others before the pool is full.

    From half of it on, a newcomer pushes out another with growing probability: of the address that
    has the most, or else one that has waited for longer than a login takes. OpenSSH drops the
    newcomer instead, which an attacker who keeps the pool full has dropped as well.
    """

    def __init__(self, limits: Limits, chance: Callable[[], float] = random.random) -> None:
        self._pool: Pool[Visitor] = Pool(limits.startups)
        self._chance = chance

    def __len__(self) -> int:
        return len(self._pool)

    def count(self, source: str) -> int:
        return self._pool.count(source)

    def has_room(self, source: str) -> bool:
        """Whether another of this address can enter; one that is there may have to go for it."""
        begin = self._pool.most // 2
        pressure = (len(self._pool) - begin) / (self._pool.most - begin)
        if self._chance() >= pressure:
            return True
        # An address that has the most waits until another has had the time of a login.
        full = pressure >= 1
        patience = 0.0 if full and not self._pool.is_largest(source) else _LOGIN_SECONDS
        victim = self._pool.victim(source, idle=patience)
        self._evict(victim)
        return victim is not None or not full

    def enter(self, guest: Visitor) -> None:
        self._pool.enter(guest, guest.source)

    def make_room(self, source: str) -> bool:
        """Whether one of an address that holds more than this one was pushed out."""
        victim = self._pool.victim(source, idle=math.inf)
        self._evict(victim)
        return victim is not None

    def leave(self, guest: Visitor) -> None:
        self._pool.leave(guest)

    def _evict(self, victim: Visitor | None) -> None:
        if victim is not None:
            self._pool.leave(victim)
            victim.evict()
