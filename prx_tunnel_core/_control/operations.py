"""The operations of the control socket: an entry of `OPERATIONS` is a whole operation.

The client, the subcommands of `prx tunnel` with their help, and the server derive from this table.
`prx tunnel status` imports it, so it imports next to nothing; the handlers import what they need.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from prx_tunnel_core.models import TunnelStatus
    from prx_tunnel_core.tunnel import Tunnel

    Answer: TypeAlias = tuple[int, str, dict[str, object]]
    """The exit code, the text for a person, and the object for `--json`."""

NEGATIVE = 4


class Operation:
    """What `prx tunnel NAME` sends to a running tunnel, and how the tunnel answers it."""

    def __init__(
        self,
        handler: Callable[[ServedTunnel], Awaitable[Answer]],
        summary: str,
        *,
        negative: str = "",
        stops: bool = False,
    ) -> None:
        self.handler = handler
        self.summary = summary
        self.negative = negative
        """The meaning of exit code 4; empty for an operation that never exits with it."""
        self.stops = stops
        """Whether the tunnel has stopped once this is answered."""

    @property
    def unanswered(self) -> int:
        """The exit code for a tunnel that is running but does not answer."""
        return NEGATIVE if self.negative else 1


class ServedTunnel:
    """The tunnel behind a control socket."""

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self._changed_at = time.monotonic()

    async def note_changes(self) -> None:
        """Record when the status changes, so that `retry_in` can count from now."""
        async for _ in self.tunnel.watch():
            self._changed_at = time.monotonic()

    @property
    def status(self) -> TunnelStatus:
        from dataclasses import replace

        from prx_tunnel_core.models import Reconnecting

        status = self.tunnel.status
        if isinstance(status, Reconnecting):
            left = status.retry_in - (time.monotonic() - self._changed_at)
            return replace(status, retry_in=max(0.0, left))
        return status

    def to_json(self, status: TunnelStatus) -> dict[str, object]:
        from prx_tunnel_core.models import status_to_json

        wire = status_to_json(self.tunnel.name, status, pid=os.getpid())
        return {**wire, "drops_last_hour": self.tunnel.recent_drops, **self.observers()}

    def observers(self) -> dict[str, object]:
        states = {name: dict(state) for name, state in self.tunnel.observer_states.items()}
        return {"observers": states} if states else {}


async def _status(served: ServedTunnel) -> Answer:
    from prx_tunnel_core._control import render
    from prx_tunnel_core.models import Connected

    tunnel, status = served.tunnel, served.status
    text = render.status_text(
        status, tunnel.config, health=tunnel.last_health, observers=tunnel.observer_states
    )
    code = 0 if isinstance(status, Connected) else NEGATIVE
    return code, text, served.to_json(status)


async def _health(served: ServedTunnel) -> Answer:
    from prx_tunnel_core._control import render
    from prx_tunnel_core.models import health_to_json

    health = await served.tunnel.health_check()
    text = render.health_text(health, observers=served.tunnel.observer_states)
    code = NEGATIVE if health.verdict == "unhealthy" else 0
    return code, text, {**health_to_json(health), **served.observers()}


async def _stop(served: ServedTunnel) -> Answer:
    await served.tunnel.stop()
    return 0, f"Tunnel {served.tunnel.name} stopped\n", served.to_json(served.tunnel.status)


OPERATIONS = {
    "status": Operation(
        _status,
        "show whether the tunnel is connected, and its public URL",
        negative="running but not connected",
    ),
    "health": Operation(
        _health,
        "check the tunnel now, from the program to the public URL",
        negative="unhealthy",
    ),
    "stop": Operation(
        _stop, "stop the tunnel, wherever it runs, and wait until it has stopped", stops=True
    ),
}
