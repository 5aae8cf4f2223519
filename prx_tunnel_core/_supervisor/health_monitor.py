"""Checks the health of a tunnel periodically and on request, and decides when it is unhealthy."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio

from prx_tunnel_core import _health
from prx_tunnel_core._supervisor import suspend
from prx_tunnel_core._supervisor.broadcast import StatusBroadcast
from prx_tunnel_core._supervisor.connection import OpenConnection
from prx_tunnel_core._supervisor.observers import Observation
from prx_tunnel_core.backend import Backend, Connection, Target
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Check, TunnelHealth, state_of
from prx_tunnel_core.process._process import ProcessConnection

logger = get_logger("prx_tunnel_core")

PROVIDER_TIMEOUT = 10.0  # seconds for the backend's own `check`
RECOVERY = 90.0  # seconds that a program may take to come back by itself
PROBE_TIMEOUT = 10.0  # seconds for each of the other probes


class Probes(Protocol):
    """The checks from outside: `_health.Prober`, or a test's own."""

    async def local(self, target: Target) -> Check: ...
    async def public(self, url: str, *, connected_for: float) -> tuple[Check, float | None]: ...
    async def aclose(self) -> None: ...


def default_prober(backend: Backend[Any]) -> Probes:
    return _health.Prober(timeout=PROBE_TIMEOUT, backend=backend)


class HealthMonitor:
    """The health of one tunnel: one check at a time, each of the current connection."""

    def __init__(
        self,
        config: TunnelConfig,
        *,
        statuses: StatusBroadcast,
        observers: Observation,
        new_prober: Callable[[Backend[Any]], Probes],
    ) -> None:
        self.latest: TunnelHealth | None = None
        self.connection: OpenConnection | None = None
        self._config = config
        self._target = Target(config.local_host, config.local_port)
        self._statuses = statuses
        self._observers = observers
        self._new_prober = new_prober
        self._prober: Probes | None = None
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
            elif any(check.verdict == "ok" for check in result.checks if _remote(check)):
                failed = 0  # what is merely unknown neither counts nor clears
            if failed >= config.health_check_failures:
                reasons = "; ".join(
                    f"{check.name}: {check.detail}"
                    for check in result.checks
                    if check.verdict == "fail" and check.name != "local"
                )
                return f"{failed} health checks in a row failed: {reasons}"

    def _has_patience(self) -> bool:
        """Whether the program is recovering by itself, which a restart would only delay."""
        return 0 <= anyio.current_time() - self._recovering_since < RECOVERY

    def _note_recovery(self, report: _health.ProviderReport) -> None:
        if not report.recovering:
            self._recovering_since = math.inf
        elif self._recovering_since == math.inf:
            self._recovering_since = anyio.current_time()

    async def _look(self, up: OpenConnection) -> TunnelHealth:
        prober = self._prober = self._prober or self._new_prober(up.backend)
        found: dict[str, Check] = {"process": _process(up.connection)}
        wrong_here: list[Check] = []
        latency: float | None = None

        async def provider() -> Check:
            report = await _health.ask_provider(up.connection, timeout=PROVIDER_TIMEOUT)
            self._note_recovery(report)
            if report.local is not None and report.local.verdict == "fail":
                wrong_here.append(report.local)
            return report.provider

        async def local() -> Check:
            return await prober.local(self._target)

        async def public() -> Check:
            nonlocal latency
            age = anyio.current_time() - up.since
            check, latency = await prober.public(up.info.public_url, connected_for=age)
            return check

        async def note(name: str, look: Callable[[], Awaitable[Check]]) -> None:
            try:
                found[name] = await look()
            except Exception as error:
                logger.exception("the health check %r failed", name)
                found[name] = Check(name, "unknown", f"could not be checked: {error!r}")

        looks = {"provider": provider, "local": local}
        if self._config.health_check_url:
            looks["public"] = public
        async with anyio.create_task_group() as tasks:
            for name, look in looks.items():
                tasks.start_soon(note, name, look)
        if wrong_here:
            ours = [check for check in (found["local"], *wrong_here) if check.verdict == "fail"]
            found["local"] = Check("local", "fail", "; ".join(check.detail for check in ours))
        checks = tuple(found[name] for name in ("process", *looks))
        return TunnelHealth(_health.judge(checks), checks, latency)

    def _not_connected(self) -> TunnelHealth:
        state = state_of(self._statuses.now)
        return TunnelHealth("unhealthy", (Check("process", "fail", f"the tunnel is {state}"),))


def _process(connection: Connection) -> Check:
    if isinstance(connection, ProcessConnection) and connection.has_ended():
        return Check("process", "fail", "the program has ended, and the event loop missed it")
    return Check("process", "ok", "the connection is open")


def _remote(check: Check) -> bool:
    return check.name in ("provider", "public")
