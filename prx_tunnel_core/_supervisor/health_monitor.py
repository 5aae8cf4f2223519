"""When the health of a tunnel is looked at, and what follows from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import anyio

from prx_tunnel_core import _health
from prx_tunnel_core._supervisor import suspend
from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Check, TunnelHealth, state_of
from prx_tunnel_core.process._process import ProcessConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prx_tunnel_core._supervisor.attempt import OpenConnection
    from prx_tunnel_core.tunnel import Tunnel

logger = get_logger("prx_tunnel_core")

PROVIDER_TIMEOUT = 10.0  # seconds for a backend's own word
RECOVERY = 90.0  # seconds that a program may take to come back by itself
PROBE_TIMEOUT = 10.0  # seconds for everything else that is asked, each


class Probes(Protocol):
    """Who looks from outside: `health.Prober`, unless a test answers instead."""

    async def local(self, target: Target) -> Check: ...
    async def public(self, url: str, *, connected_for: float) -> tuple[Check, float | None]: ...
    async def aclose(self) -> None: ...


class HealthCheck:
    """The health of one tunnel: never two checks at a time, each about the connection of now."""

    def __init__(self, tunnel: Tunnel, prober: Probes | None) -> None:
        self.latest: TunnelHealth | None = None
        self.connection: OpenConnection | None = None
        self._tunnel = tunnel
        self._prober = prober
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
            if up is not self.connection:  # it dropped while we looked: that is the answer
                result = self._not_connected()
            self.latest = result
            self._tunnel._observation.health_checked(result)  # noqa: SLF001 - one object in parts
            return result

    async def until_unhealthy(self) -> str:
        """Check every interval; return the reason once enough checks in a row have failed."""
        config = self._tunnel.config
        failed = 0
        self._recovering_since = math.inf
        while True:
            # From the end of one check to the beginning of the next: a slow one is never doubled.
            woken = await suspend.sleep(config.health_check_interval)
            result = await self.now()
            if result.verdict == "unhealthy":
                # Of what the machine's own suspend has broken, much comes back by itself.
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
        """Whether the program is just coming back by itself, which a restart would only delay."""
        return 0 <= anyio.current_time() - self._recovering_since < RECOVERY

    def _note(self, word: _health.ProviderReport) -> None:
        if not word.recovering:
            self._recovering_since = math.inf
        elif self._recovering_since == math.inf:
            self._recovering_since = anyio.current_time()

    async def _look(self, up: OpenConnection) -> TunnelHealth:
        prober = self._prober = self._prober or _health.Prober(
            timeout=PROBE_TIMEOUT, backend=up.backend
        )
        found: dict[str, Check] = {"process": _process(up.connection)}
        wrong_here: list[Check] = []
        latency: float | None = None

        async def provider() -> Check:
            word = await _health.ask_provider(up.connection, timeout=PROVIDER_TIMEOUT)
            self._note(word)
            if word.local is not None and word.local.verdict == "fail":
                wrong_here.append(word.local)
            return word.provider

        async def local() -> Check:
            return await prober.local(self._tunnel.target)

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
        if self._tunnel.config.health_check_url:
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
        state = state_of(self._tunnel.status)
        return TunnelHealth("unhealthy", (Check("process", "fail", f"the tunnel is {state}"),))


def _process(connection: Connection) -> Check:
    if isinstance(connection, ProcessConnection) and connection.has_ended():
        return Check("process", "fail", "the program has ended, and the event loop missed it")
    return Check("process", "ok", "the connection is open")


def _remote(check: Check) -> bool:
    return check.name in ("provider", "public")
