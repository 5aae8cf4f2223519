"""From one `start` of a tunnel to its end: connect, stay connected, connect again, give up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel

from prx_tunnel_core._supervisor import suspend
from prx_tunnel_core._supervisor.attempt import Attempt, Ended, OpenConnection
from prx_tunnel_core._supervisor.backoff import Backoff
from prx_tunnel_core._supervisor.health_monitor import HealthCheck
from prx_tunnel_core.backend import Backend, Target
from prx_tunnel_core.config import BackendConfig, TunnelConfig
from prx_tunnel_core.errors import ConnectError, SetupError, TunnelError
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Connected, Connecting, Failed, Reconnecting, TunnelStatus
from prx_tunnel_core.text import Redactor

logger = get_logger("prx_tunnel_core")

OFFLINE_POLL = 1.0  # seconds between looks for a network


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What one tunnel's lives have in common."""

    config: TunnelConfig
    backend: Backend[Any]
    settings: BackendConfig
    target: Target
    redact: Redactor
    health: HealthCheck
    online: Callable[[], bool]
    show: Callable[[TunnelStatus], None]
    """Takes each new status; a callable so that only the tunnel itself can change it."""


class Lifecycle:
    def __init__(self, parts: Parts, ladder: Backoff) -> None:
        self.was_connected = False
        self._parts = parts
        self._ladder = ladder
        self._planned = False
        """Whether the end of the current attempt has been decided on."""
        self._offline = False
        self._error: TunnelError | None = None

    @property
    def gave_up(self) -> bool:
        """Whether there is nothing more to come but the closing of what is left."""
        return self._error is not None

    async def run(self) -> TunnelError:
        """Keep a connection open; return the error after which that has no use."""
        while True:
            self._planned = False
            try:
                ended = await self._attempt().run()
            finally:  # when it is stopped, too
                self._parts.health.connection = None
            if isinstance(ended.error, SetupError):
                return ended.error
            if not self._planned:
                self._plan(ended)
            if self._error is not None:
                return self._error
            await self._pause()
            # No attempt after a stop that came while the last connection was being closed.
            await anyio.lowlevel.checkpoint_if_cancelled()
            self._parts.show(Connecting(self._ladder.attempt))

    def _attempt(self) -> Attempt:
        parts = self._parts
        return Attempt(
            backend=parts.backend,
            settings=parts.settings,
            target=parts.target,
            limit=parts.config.timeout_of(parts.settings),
            redact=parts.redact,
            on_up=self._up,
            on_closed=self._closed,
            until_unhealthy=parts.health.until_unhealthy,
        )

    def _up(self, up: OpenConnection) -> None:
        self.was_connected = True
        self._parts.health.connection = up
        self._parts.show(Connected(up.info, self._ladder.attempt))

    def _closed(self, ended: Ended) -> None:
        # The URL is withdrawn at once, not after what is left has been cleared away.
        self._parts.health.connection = None
        if isinstance(ended.error, SetupError):
            self._error = ended.error
        else:
            self._plan(ended)
        if self._error is not None:
            self._parts.show(Failed(str(self._error)))

    def _plan(self, ended: Ended) -> None:
        """Decide on the next attempt: Reconnecting, or the error with which to give up."""
        parts, ladder, error = self._parts, self._ladder, ended.error
        self._offline = not parts.settings.server_on_loopback() and not parts.online()
        if ended.connected_for is not None:
            ladder.was_connected(ended.connected_for)
        at_least = error.retry_after if isinstance(error, ConnectError) else 0.0
        if self._offline:
            # Attempts that do not count would all be first ones; the way back ends the pause.
            at_least = max(at_least, parts.config.reconnect.backoff_max_ms / 1000)
        if ladder.next(at_least=at_least, counted=not self._offline):
            reason = f"this machine is offline: {error}" if self._offline else str(error)
            parts.show(Reconnecting(ladder.attempt, reason, ladder.delay))
        elif parts.config.reconnect.enabled:
            self._error = ConnectError(f"gave up after {ladder.attempt} attempts: {error}")
        else:
            self._error = error
        self._planned = True  # last, so that a defect of ours is met again outside of the attempt

    async def _pause(self) -> None:
        if not self._offline:
            await suspend.sleep(self._ladder.delay)
            return
        with anyio.move_on_after(self._ladder.delay):
            while not self._parts.online():
                await anyio.sleep(OFFLINE_POLL)


class Run:
    """From one `start` to its end."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.finished = anyio.Event()
        self.waiting = 0
        self.life: Lifecycle | None = None
        self.error: TunnelError | None = None

    @property
    def was_connected(self) -> bool:
        return self.life is not None and self.life.was_connected

    @property
    def is_ending(self) -> bool:
        return self.scope.cancel_called or (self.life is not None and self.life.gave_up)
