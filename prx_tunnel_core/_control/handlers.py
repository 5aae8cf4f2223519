"""What can be asked of a tunnel by its socket: a literal table, and nothing that is not in it."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from prx_tunnel_core._control import render
from prx_tunnel_core.models import Reconnecting, TunnelStatus, health_to_json, status_to_json

if TYPE_CHECKING:
    from prx_tunnel_core.tunnel import Tunnel


class Operations:
    """Each takes the form of the answer, and gives the exit code and what is to be printed."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._changed_at = anyio.current_time()
        self.table: dict[str, Callable[[str], Awaitable[tuple[int, str]]]] = {
            "status": self._status,
            "health": self._health,
            "stop": self._stop,
        }

    async def note_changes(self) -> None:
        """When the status changed, for a `retry_in` that counts from now."""
        async for _ in self._tunnel.watch():
            self._changed_at = anyio.current_time()

    async def _status(self, form: str) -> tuple[int, str]:
        tunnel, status = self._tunnel, self._current()
        if form == "json":
            text = self._json(status)
        else:
            text = render.status_text(
                status,
                tunnel.config,
                health=tunnel.last_health,
                observers=tunnel.observer_states,
            )
        return render.status_code(status), text

    async def _health(self, form: str) -> tuple[int, str]:
        health = await self._tunnel.health_check()
        if form == "json":
            text = f"{json.dumps({**health_to_json(health), **self._observers()})}\n"
        else:
            text = render.health_text(health, observers=self._tunnel.observer_states)
        return render.health_code(health), text

    async def _stop(self, form: str) -> tuple[int, str]:
        await self._tunnel.stop()
        if form == "json":
            return 0, self._json(self._tunnel.status)
        return 0, f"Tunnel {self._tunnel.name} stopped\n"

    def _current(self) -> TunnelStatus:
        status = self._tunnel.status
        if isinstance(status, Reconnecting):
            left = status.retry_in - (anyio.current_time() - self._changed_at)
            return replace(status, retry_in=max(0.0, left))
        return status

    def _json(self, status: TunnelStatus) -> str:
        wire = status_to_json(self._tunnel.name, status, pid=os.getpid())
        wire["drops_last_hour"] = self._tunnel.recent_drops
        return f"{json.dumps({**wire, **self._observers()})}\n"

    def _observers(self) -> dict[str, object]:
        states = {name: dict(state) for name, state in self._tunnel.observer_states.items()}
        return {"observers": states} if states else {}
