"""One start of a tunnel, from Connecting to Stopped or Failed.

It follows the state table of docs/architecture.md:

    supervise         the task of the run: its outcome becomes the last status
    _keep_connected   attempt, pause, attempt again, until no attempt is left
    _attempt, _stay   connect in bounded time, wait until the connection drops, close it
    _came_up          Connected
    _dropped          the connection closed by itself: withdraw its URL before it is torn down
    _plan, _pause     Reconnecting and the delay, or the error with which to give up
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import anyio
import anyio.lowlevel

from prx_tunnel_core import _health
from prx_tunnel_core._supervisor import suspend
from prx_tunnel_core._supervisor.backoff import Backoff
from prx_tunnel_core._supervisor.broadcast import StatusBroadcast
from prx_tunnel_core._supervisor.connection import OpenConnection
from prx_tunnel_core._supervisor.health_monitor import HealthMonitor, default_prober
from prx_tunnel_core.backend import Backend, Target
from prx_tunnel_core.config import BackendConfig, ReconnectConfig, TunnelConfig
from prx_tunnel_core.errors import (
    ConnectError,
    ProgramStuck,
    SetupError,
    TunnelError,
    leaves,
    unwrap,
)
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Connected, Connecting, Failed, Reconnecting, Stopped
from prx_tunnel_core.process._process import TunnelProcess, started
from prx_tunnel_core.text import Redactor, printable_lines

logger = get_logger("prx_tunnel_core")

LONGEST_REASON = 2000  # characters
TEARDOWN = 10.0  # seconds for a backend to close a dropped connection; a program has its own grace
OFFLINE_POLL = 1.0  # seconds between looks for a network

LoadBackend: TypeAlias = Callable[[], Awaitable[tuple[Backend[Any], BackendConfig]]]


@dataclass(frozen=True, kw_only=True)
class Seams:
    """Where a tunnel asks the machine and the network; tests answer in their place."""

    prober: Callable[[Backend[Any]], _health.Probes] = default_prober
    online: Callable[[], bool] = _health.online
    backoff: Callable[[ReconnectConfig], Backoff] = Backoff


class Ended(NamedTuple):
    """How an attempt ended."""

    error: TunnelError
    connected_for: float | None = None
    """Seconds that it was connected; None if it never was."""


class Run:
    """The task of one `start`, with everything that it opens in nested scopes."""

    _backend: Backend[Any]
    _settings: BackendConfig

    def __init__(
        self,
        name: str,
        config: TunnelConfig,
        load_backend: LoadBackend,
        *,
        statuses: StatusBroadcast,
        health: HealthMonitor,
        redact: Redactor,
        seams: Seams,
    ) -> None:
        self.scope = anyio.CancelScope()
        self.finished = anyio.Event()
        self.waiting = 0
        """The number of `start` calls that wait for it to connect."""
        self.was_connected = False
        self.error: TunnelError | None = None
        """Why there will be no further attempt."""
        self._name = name
        self._config = config
        self._load_backend = load_backend
        self._target = Target(config.local_host, config.local_port)
        self._statuses = statuses
        self._health = health
        self._redact = redact
        self._is_online = seams.online
        self._backoff = seams.backoff(config.reconnect)
        self._planned = False
        """Whether `_plan` has already decided what follows the current attempt."""
        self._offline = False

    @property
    def is_ending(self) -> bool:
        """Whether nothing is left to do but to close what is open."""
        return self.scope.cancel_called or self.error is not None

    async def supervise(self) -> None:
        try:
            with self.scope:
                self._backend, self._settings = await self._load_backend()
                self.error = await self._keep_connected()
        except SetupError as error:
            self.error = error
        except Exception as error:
            logger.exception("tunnel %s: a defect of prx-tunnel", self._name)
            self.error = TunnelError(f"a defect of prx-tunnel: {type(error).__name__}")
        finally:
            # A stop wins over whatever happened in the same moment, unless a program is stuck.
            if self.scope.cancel_called and not isinstance(self.error, ProgramStuck):
                self.error = None
            self.finished.set()
            self._statuses.put(Stopped() if self.error is None else Failed(str(self.error)))

    async def _keep_connected(self) -> TunnelError:
        """Keep a connection open; return the error that no further attempt can mend."""
        while True:
            self._planned = False
            try:
                ended = await self._attempt()
            finally:  # when it is stopped, too
                self._health.connection = None
            if isinstance(ended.error, SetupError):
                return ended.error
            if not self._planned:
                self._plan(ended)
            if self.error is not None:
                return self.error
            await self._pause()
            # No attempt after a stop that came while the last connection was being closed.
            await anyio.lowlevel.checkpoint_if_cancelled()
            self._statuses.put(Connecting(self._backoff.attempt))

    async def _attempt(self) -> Ended:
        """Connect, stay connected, and return how it ended; cancellation closes everything."""
        programs: list[TunnelProcess] = []
        started.set(programs)
        limit = self._config.timeout_of(self._settings)
        ended: Ended | None = None
        with anyio.CancelScope(deadline=anyio.current_time() + limit) as scope:
            try:
                async with self._backend.connect(self._settings, self._target) as connection:
                    up = OpenConnection.checked(
                        connection,
                        backend=self._backend,
                        target=self._target,
                        redact=self._redact,
                    )
                    scope.deadline = math.inf
                    self._came_up(up)
                    ended = await self._stay(up)
                    scope.deadline = anyio.current_time() + TEARDOWN
            except BaseException as raised:
                found = leaves(raised)
                if not all(isinstance(leaf, Exception | SystemExit) for leaf in found):
                    raise  # a cancellation, an interrupt
                # A second program must not be started beside one that cannot be ended.
                stuck = any(isinstance(leaf, ProgramStuck) for leaf in found)
                if ended is None or stuck:
                    ended = Ended(self._classify(raised))
                else:
                    why = self._describe(unwrap(raised))
                    logger.warning("closing backend %r failed: %s", self._backend.name, why)
        if ended is None:
            return Ended(ConnectError(self._timeout_message(limit, programs)))
        if scope.cancelled_caught:
            logger.warning("backend %r did not close within %g s", self._backend.name, TEARDOWN)
        return ended

    async def _stay(self, up: OpenConnection) -> Ended:
        """Wait for the first reason to leave the connection."""
        ends: list[tuple[TunnelError, bool]] = []

        async with anyio.create_task_group() as tasks:

            async def leave_after(wait: Callable[[], Awaitable[str]], *, closed: bool) -> None:
                try:
                    error: TunnelError = ConnectError(self._printable(await wait()))
                except (Exception, SystemExit) as raised:  # noqa: BLE001 - foreign code
                    error = self._classify(raised)
                ends.append((error, closed))
                tasks.cancel_scope.cancel()

            async def closed() -> None:
                await leave_after(up.connection.wait_closed, closed=True)

            tasks.start_soon(closed)
            await leave_after(self._health.until_unhealthy, closed=False)
        error, by_itself = ends[0]
        ended = Ended(error, anyio.current_time() - up.since)
        if by_itself:
            self._dropped(ended)
        return ended

    def _came_up(self, up: OpenConnection) -> None:
        self.was_connected = True
        self._health.connection = up
        self._statuses.put(Connected(up.info, self._backoff.attempt))

    def _dropped(self, ended: Ended) -> None:
        # The URL is withdrawn at once, not after what is left has been cleared away.
        self._health.connection = None
        if isinstance(ended.error, SetupError):
            self.error = ended.error
        else:
            self._plan(ended)
        if self.error is not None:
            self._statuses.put(Failed(str(self.error)))

    def _plan(self, ended: Ended) -> None:
        """Decide on the next attempt: Reconnecting, or the error with which to give up."""
        reconnect, backoff, error = self._config.reconnect, self._backoff, ended.error
        self._offline = not self._settings.server_on_loopback() and not self._is_online()
        if ended.connected_for is not None:
            backoff.was_connected(ended.connected_for)
        at_least = error.retry_after if isinstance(error, ConnectError) else 0.0
        if self._offline:
            # Uncounted attempts would all have the first delay; `_pause` ends with a network.
            at_least = max(at_least, reconnect.backoff_max_ms / 1000)
        if backoff.next(at_least=at_least, counted=not self._offline):
            reason = f"this machine is offline: {error}" if self._offline else str(error)
            self._statuses.put(Reconnecting(backoff.attempt, reason, backoff.delay))
        elif reconnect.enabled:
            self.error = ConnectError(f"gave up after {backoff.attempt} attempts: {error}")
        else:
            self.error = error
        # Last: if this raises inside the attempt, `_keep_connected` calls it again outside.
        self._planned = True

    async def _pause(self) -> None:
        if not self._offline:
            await suspend.sleep(self._backoff.delay)
            return
        with anyio.move_on_after(self._backoff.delay):
            while not self._is_online():
                await anyio.sleep(OFFLINE_POLL)

    def _classify(self, error: BaseException) -> TunnelError:
        """The error that decides: a SetupError before a ConnectError, a defect last."""
        for kind in (SetupError, ConnectError):
            for leaf in leaves(error):
                if isinstance(leaf, kind):
                    return self._clean(leaf)
        error = unwrap(error)
        if isinstance(error, OSError):  # TimeoutError is one
            return ConnectError(self._describe(error))
        name, text = self._backend.name, self._describe(error)
        logger.error("backend %r raised an error that no backend should raise: %s", name, text)
        return ConnectError(f"a defect of backend {name!r}: {text}")

    def _clean(self, error: TunnelError) -> TunnelError:
        text = self._printable(str(error))
        if text == str(error):
            return error
        if isinstance(error, ConnectError):
            return ConnectError(text, retry_after=error.retry_after)
        return SetupError(text)

    def _describe(self, error: BaseException) -> str:
        return self._printable(f"{type(error).__name__}: {error}" if str(error) else repr(error))

    def _printable(self, text: str) -> str:
        """Redacted, bounded and fit for a status and a terminal, whatever the backend wrote."""
        lines = "\n".join(self._redact(str(text)).splitlines())
        text = self._redact(printable_lines(lines))  # again: a control character may split a secret
        return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."

    def _timeout_message(self, limit: float, programs: list[TunnelProcess]) -> str:
        message = f"not connected within {limit:g} s"
        for program in programs:
            lines = program.last_lines()
            message += f"; {program.name} {f'said: {lines}' if lines else 'was silent'}"
        return self._printable(message)
