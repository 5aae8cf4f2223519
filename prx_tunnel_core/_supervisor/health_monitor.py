"""Checks the health of a tunnel periodically and on request, and decides when it is unhealthy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio

from prx_tunnel_core import _health
from prx_tunnel_core._supervisor import suspend
from prx_tunnel_core._supervisor.broadcast import StatusBroadcast
from prx_tunnel_core._supervisor.connection import OpenConnection
from prx_tunnel_core._supervisor.observers import Observation
from prx_tunnel_core.backend import Backend, Target
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.models import TunnelHealth, state_of

RECOVERY = 90.0  # seconds that a program may take to come back by itself
PROBE_TIMEOUT = 10.0  # seconds for each probe from outside


def default_prober(backend: Backend[Any]) -> _health.Probes:
    return _health.Prober(timeout=PROBE_TIMEOUT, backend=backend)


class HealthMonitor:
    """The health of one tunnel: one check at a time, each of the current connection."""

    def __init__(
        self,
        config: TunnelConfig,
        *,
        statuses: StatusBroadcast,
        observers: Observation,
        new_prober: Callable[[Backend[Any]], _health.Probes],
    ) -> None:
        self.latest: TunnelHealth | None = None
        self.connection: OpenConnection | None = None
        self._config = config
        self._target = Target(config.local_host, config.local_port)
        self._statuses = statuses
        self._observers = observers
        self._new_prober = new_prober
        self._prober: _health.Probes | None = None
        self._turn = anyio.Lock()
        self._recovering_since = math.inf

    async def aclose(self) -> None:
        if self._prober is not None:
            await self._prober.aclose()
            self._prober = None

    async def now(self) -> TunnelHealth:
        async with self._turn:
            up = self.connection
            result = await self._look(up) if up is not None else self._not_connected()
            if up is not self.connection:  # it dropped during the check
                result = self._not_connected()
            self.latest = result
            self._observers.health_checked(result)
            return result

    async def until_unhealthy(self) -> str:
        """Check every interval; return the reason once enough checks in a row have failed."""
        config = self._config
        failed = 0
        self._recovering_since = math.inf
        while True:
            # From the end of one check to the beginning of the next: a slow one is never doubled.
            woken = await suspend.sleep(config.health_check_interval)
            result = await self.now()
            if result.verdict == "unhealthy":
                # A failure right after a suspend is free: much of it recovers by itself.
                failed += not (woken or self._has_patience())
            elif _health.confirmed(result):
                failed = 0  # what is merely unknown neither counts nor clears
            if failed >= config.health_check_failures:
                return f"{failed} health checks in a row failed: {_health.reasons(result)}"

    def _has_patience(self) -> bool:
        """Whether the program is recovering by itself, which a restart would only delay."""
        return 0 <= anyio.current_time() - self._recovering_since < RECOVERY

    def _note_recovery(self, *, recovering: bool) -> None:
        if not recovering:
            self._recovering_since = math.inf
        elif self._recovering_since == math.inf:
            self._recovering_since = anyio.current_time()

    async def _look(self, up: OpenConnection) -> TunnelHealth:
        prober = self._prober = self._prober or self._new_prober(up.backend)
        subject = _health.Examined(
            connection=up.connection,
            target=self._target,
            public_url=up.info.public_url if self._config.health_check_url else None,
            connected_for=anyio.current_time() - up.since,
            prober=prober,
        )
        health = await _health.examine(subject)
        self._note_recovery(recovering=subject.recovering)
        return health

    def _not_connected(self) -> TunnelHealth:
        return _health.not_connected(state_of(self._statuses.now))
