"""A running cloudflared: the process and its log."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from prx_tunnel_cloudflare.command import Protocol, command, own_config_file
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.credentials import Credentials
from prx_tunnel_cloudflare.journal import Journal
from prx_tunnel_cloudflare.reasons import Cause
from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import ProgramExited, TunnelError
from prx_tunnel_core.process import TunnelProcess, open_process

INSTALL_HINT = (
    "install cloudflared, see https://developers.cloudflare.com/cloudflare-one/networks/"
    "connectors/cloudflare-tunnel/downloads/, or set tunnel.cloudflare.program to its path"
)

SHUTDOWN = 5.0
"""Seconds beyond the grace period: while a start makes its four connections, one second apart,
cloudflared does not end."""


class Connector:
    """A cloudflared process, for the rest of this package."""

    process: TunnelProcess

    def __init__(self) -> None:
        self.journal = Journal()
        self._listener: anyio.Event | None = None

    def hear(self, line: str) -> None:
        before = self.journal.milestones
        self.journal.feed(line)
        if self._listener is not None and self.journal.milestones != before:
            self._listener.set()

    async def news(self, patience: float) -> None:
        """Return when the log shows something new, or after `patience` seconds."""
        self._listener = anyio.Event()
        with anyio.move_on_after(patience):
            await self._listener.wait()
        self._listener = None

    def ended(self) -> TunnelError:
        """Why it ended before it was connected: its own reason, if it logged one."""
        reason = self.journal.reason
        if reason is not None and reason.cause is not Cause.LOST:
            return reason.to_error()
        code = self.process.returncode or 0
        return ProgramExited(self.process.exit_reason(), returncode=code, tail=self.process.tail)


@asynccontextmanager
async def run_cloudflared(
    config: CloudflareConfig,
    target: Target,
    credentials: Credentials,
    *,
    protocol: Protocol | None = None,
) -> AsyncIterator[Connector]:
    """Run cloudflared while the context lasts.

    Leaving sends TERM, which lets requests in flight finish for `grace_period` seconds, and a
    second TERM, which ends it at once: with an open WebSocket over HTTP/2, the first never does.
    """
    connector = Connector()
    with own_config_file(config, target) as path:
        call = command(config, target, credentials, path, protocol=protocol)
        async with open_process(
            call.arguments,
            env=call.environment,
            grace=config.grace_period + SHUTDOWN,
            on_line=connector.hear,
            secrets=credentials.hidden,
            stop_signals=(signal.SIGTERM, signal.SIGTERM),
            program_hint=INSTALL_HINT,
        ) as connector.process:
            yield connector
