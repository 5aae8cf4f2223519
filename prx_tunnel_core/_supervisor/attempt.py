"""One attempt: open a connection in bounded time, watch it until it drops, close it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import anyio

from prx_tunnel_core.backend import Backend, Connection, Target
from prx_tunnel_core.config import BackendConfig
from prx_tunnel_core.errors import (
    ConnectError,
    PluginError,
    ProgramStuck,
    SetupError,
    TunnelError,
    leaves,
    unwrap,
)
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import TunnelInfo
from prx_tunnel_core.process._process import TunnelProcess, started
from prx_tunnel_core.text import Redactor, printable_lines
from prx_tunnel_core.urls import ANY_URL, leads_here

logger = get_logger("prx_tunnel_core")

LONGEST_REASON = 2000  # characters
TEARDOWN = 10.0  # seconds for a backend to close a dropped connection; a program has its own grace


@dataclass(frozen=True)
class OpenConnection:
    """A connection that is open."""

    backend: Backend[Any]
    connection: Connection
    info: TunnelInfo
    since: float
    """When it came up, on the loop's clock."""


class Ended(NamedTuple):
    error: TunnelError
    connected_for: float | None = None
    """Seconds that it was connected; None when it never was."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    backend: Backend[Any]
    settings: BackendConfig
    target: Target
    limit: float
    """Seconds to connect in."""
    redact: Redactor
    on_up: Callable[[OpenConnection], None]
    on_closed: Callable[[Ended], None]
    """Called when a connection has closed by itself, before what is left of it is torn down."""
    until_unhealthy: Callable[[], Awaitable[str]]

    async def run(self) -> Ended:
        """Connect, stay connected, and say how it ended; cancellation closes everything."""
        programs: list[TunnelProcess] = []
        started.set(programs)
        ended: Ended | None = None
        with anyio.CancelScope(deadline=anyio.current_time() + self.limit) as scope:
            try:
                async with self.backend.connect(self.settings, self.target) as connection:
                    up = self._introduce(connection)
                    scope.deadline = math.inf
                    self.on_up(up)
                    ended = await self._stay(up)
                    scope.deadline = anyio.current_time() + TEARDOWN
            except BaseException as raised:
                found = leaves(raised)
                if not all(isinstance(leaf, Exception | SystemExit) for leaf in found):
                    raise  # a cancellation, an interrupt
                # Beside a program that cannot be ended, there must not come a second one.
                stuck = any(isinstance(leaf, ProgramStuck) for leaf in found)
                if ended is None or stuck:
                    ended = Ended(self._classify(raised))
                else:
                    why = self._text(unwrap(raised))
                    logger.warning("closing backend %r failed: %s", self.backend.name, why)
        if ended is None:
            return Ended(ConnectError(self._timeout_message(programs)))
        if scope.cancelled_caught:
            logger.warning("backend %r did not close within %g s", self.backend.name, TEARDOWN)
        return ended

    async def _stay(self, up: OpenConnection) -> Ended:
        """Wait for the first reason to leave the connection."""
        ends: list[tuple[TunnelError, bool]] = []

        async with anyio.create_task_group() as tasks:

            async def leave(wait: Callable[[], Awaitable[str]], *, closed: bool) -> None:
                try:
                    error: TunnelError = ConnectError(self._shown(await wait()))
                except (Exception, SystemExit) as raised:  # noqa: BLE001 - foreign code
                    error = self._classify(raised)
                ends.append((error, closed))
                tasks.cancel_scope.cancel()

            async def closed() -> None:
                await leave(up.connection.wait_closed, closed=True)

            tasks.start_soon(closed)
            await leave(self.until_unhealthy, closed=False)
        error, by_itself = ends[0]
        ended = Ended(error, anyio.current_time() - up.since)
        if by_itself:
            self.on_closed(ended)
        return ended

    def _introduce(self, connection: object) -> OpenConnection:
        """What the backend says of its connection, once it has been looked at."""
        name = self.backend.name
        if not isinstance(connection, Connection):
            kind = type(connection).__name__
            raise PluginError(f"backend {name!r} yielded a {kind}, not a Connection")
        try:
            url = ANY_URL.accept(connection.public_url)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConnectError(f"backend {name!r} gave no valid public URL: {error}") from None
        if leads_here(url, self.target.port):
            raise ConnectError(f"backend {name!r} gave the local address {url} as public URL")
        info = TunnelInfo(
            public_url=url,
            backend=name,
            local_port=self.target.port,
            started_at=datetime.now(UTC),
            details={key: self.redact(str(text)) for key, text in connection.details.items()},
            visitor_headers=connection.visitor_headers,
        )
        return OpenConnection(self.backend, connection, info, anyio.current_time())

    def _classify(self, error: BaseException) -> TunnelError:
        """The error that decides: what must be fixed before what may pass, and a defect last."""
        for kind in (SetupError, ConnectError):
            for leaf in leaves(error):
                if isinstance(leaf, kind):
                    return self._clean(leaf)
        error = unwrap(error)
        if isinstance(error, OSError):  # TimeoutError is one
            return ConnectError(self._text(error))
        logger.error(
            "backend %r raised what no backend should: %s", self.backend.name, self._text(error)
        )
        return ConnectError(f"a defect of backend {self.backend.name!r}: {self._text(error)}")

    def _clean(self, error: TunnelError) -> TunnelError:
        text = self._shown(str(error))
        if text == str(error):
            return error
        if isinstance(error, ConnectError):
            return ConnectError(text, retry_after=error.retry_after)
        return SetupError(text)

    def _text(self, error: BaseException) -> str:
        return self._shown(f"{type(error).__name__}: {error}" if str(error) else repr(error))

    def _shown(self, text: str) -> str:
        """Fit for a status and a terminal, whatever a backend makes of it."""
        lines = "\n".join(self.redact(str(text)).splitlines())
        text = self.redact(printable_lines(lines))  # again, for what was hidden within a secret
        return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."

    def _timeout_message(self, programs: list[TunnelProcess]) -> str:
        message = f"not connected within {self.limit:g} s"
        for program in programs:
            lines = program.last_lines()
            message += f"; {program.name} {f'said: {lines}' if lines else 'was silent'}"
        return self._shown(message)
