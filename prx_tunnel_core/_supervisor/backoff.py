"""How long to wait before the next attempt, and when to give up."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from prx_tunnel_core.config import ReconnectConfig

STABLE = 30.0  # seconds of connection after which the attempts are counted anew


def _system_random() -> Callable[[], float]:
    # Not the global generator: hosts that seed it alike would all reconnect at the same moment.
    return random.SystemRandom().random


@dataclass
class Backoff:
    """The attempts made since the tunnel was last stable."""

    config: ReconnectConfig
    uniform: Callable[[], float] = field(default_factory=_system_random)
    """A number from 0 to 1."""
    attempt: int = 0
    delay: float = 0.0
    """Seconds before the latest attempt."""

    def was_connected(self, seconds: float) -> None:
        """Reset after a stable connection; a flapping one keeps the counter and the delay."""
        if seconds >= max(STABLE, 2 * self.delay):
            self.attempt, self.delay = 0, 0.0

    def next(self, *, at_least: float = 0.0, counted: bool = True) -> bool:
        """Plan the next attempt; return False when none is left.

        `at_least` is a floor for the delay that may exceed the configured maximum: a provider's
        rate limit. An attempt that is not `counted` does not use up one of `max_attempts`.
        """
        if not self.config.enabled:
            return False
        if counted:
            if self.config.max_attempts and self.attempt >= self.config.max_attempts:
                return False
            self.attempt += 1
        self.delay = max(self._jittered(), at_least)
        return True

    def _jittered(self) -> float:
        """Equal jitter: half of the exponential delay, and a random part of the other half."""
        # The exponent is capped: attempt 10**9 must not compute a number of that many bits.
        doublings = min(max(self.attempt, 1) - 1, 62)
        base, longest = self.config.backoff_base_ms, self.config.backoff_max_ms
        ceiling = min(longest, base * (1 << doublings)) / 1000
        return ceiling / 2 + self.uniform() * ceiling / 2
