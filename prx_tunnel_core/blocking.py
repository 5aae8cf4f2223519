"""The same for synchronous hosts: a tunnel on an event loop of its own, in a thread of its own.

with open_tunnel({"backend": "ssh", "local_port": 3000}) as tunnel:
print(tunnel.info.public_url)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.models import TunnelHealth, TunnelInfo, TunnelStatus
from prx_tunnel_core.supervisor import Tunnel as AsyncTunnel

logger = logging.getLogger("prx_tunnel_core")


class Tunnel:
    """A tunnel whose methods block the calling thread; they may be called from any thread.

    Make one with `tunnel()` or `open_tunnel()`.
    """

    def __init__(self, tunnel: AsyncTunnel, portal: BlockingPortal) -> None:
        self._tunnel = tunnel
        self._portal = portal

    def __repr__(self) -> str:
        return f"<blocking {self._tunnel!r}>"

    @property
    def status(self) -> TunnelStatus:
        return self._tunnel.status

    @property
    def info(self) -> TunnelInfo | None:
        """Where the tunnel is reached; None while it is not connected."""
        return self._tunnel.info

    def start(self) -> TunnelInfo:
        """As `Tunnel.start`."""
        return self._portal.call(self._tunnel.start)

    def stop(self) -> None:
        """As `Tunnel.stop`."""
        self._portal.call(self._tunnel.stop)

    def health_check(self) -> TunnelHealth:
        """As `Tunnel.health_check`."""
        return self._portal.call(self._tunnel.health_check)

    def on_change(self, callback: Callable[[TunnelStatus], object]) -> None:
        """Call back with each new status, in order, in a worker thread; what it raises is logged.

        A callback that blocks delays only itself.
        """
        watch = self._portal.call(self._tunnel.watch)

        async def pass_on() -> None:
            from anyio.to_thread import run_sync

            async for status in watch:
                try:
                    await run_sync(callback, status, abandon_on_cancel=True)
                except Exception:
                    logger.exception("a callback for changes of the tunnel failed")

        self._portal.start_task_soon(pass_on)


@contextmanager
def tunnel(
    config: TunnelConfig | Mapping[str, Any] | None = None,
    *,
    async_backend: str = "asyncio",
    **options: Any,
) -> Iterator[Tunnel]:
    """A tunnel that is not started yet; leaving the context stops it.

    Takes what the asynchronous `Tunnel` takes; `async_backend` is `asyncio` or `trio`.
    """
    with (
        start_blocking_portal(async_backend, name="prx-tunnel") as portal,
        portal.wrap_async_context_manager(AsyncTunnel(config, **options)) as running,
    ):
        yield Tunnel(running, portal)


@contextmanager
def open_tunnel(
    config: TunnelConfig | Mapping[str, Any] | None = None, **options: Any
) -> Iterator[Tunnel]:
    """A tunnel that is started on entering and stopped on leaving."""
    with tunnel(config, **options) as running:
        running.start()
        yield running
