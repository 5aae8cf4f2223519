"""Keep one tunnel open from its first attempt until it is stopped or fails for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from prx_tunnel_core._cli.signals import StopSignals
from prx_tunnel_core._cli.views import View
from prx_tunnel_core._configfile import Config
from prx_tunnel_core._control.name_lock import NameLock
from prx_tunnel_core._control.server import serve
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core.errors import TunnelError, unwrap_group
from prx_tunnel_core.models import Failed, Idle, Stopped, TunnelStatus
from prx_tunnel_core.tunnel import Tunnel


@dataclass(frozen=True)
class TunnelSpec:
    """The tunnel to start: its name, configuration and plugins."""

    name: str
    config: Config
    plugins: PluginRegistry


def run(
    spec: TunnelSpec, view: View, stop: StopSignals, *, on_lock: Callable[[], None] = lambda: None
) -> None:
    """Return once the tunnel was stopped. Raises TunnelError if it failed.

    `on_lock` is called once this process holds the lock of the tunnel's name.
    """
    anyio.run(_keep_open, spec, view, stop, on_lock, backend="asyncio")


async def _keep_open(
    spec: TunnelSpec, view: View, stop: StopSignals, on_lock: Callable[[], None]
) -> None:
    # The name is locked first: if it is taken, nothing is started, not even an observer.
    lock = await NameLock.acquire(spec.name)
    try:
        on_lock()
        shown = _Shown(view)
        tunnel = Tunnel(
            spec.config.tunnel,
            name=spec.name,
            plugins=spec.plugins,
            tables=spec.config.tables,
            on_status=shown.show,
        )
        async with tunnel, serve(tunnel, lock=lock, release_on_stop=True):
            await _until_stopped(tunnel, shown, stop)
    finally:
        lock.release()


async def _until_stopped(tunnel: Tunnel, shown: _Shown, stop: StopSignals) -> None:
    if stop.requested:
        return
    failure: TunnelError | None = None
    with unwrap_group():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_when_asked, tunnel, stop)
            try:
                await tunnel.start()
            except TunnelError as error:
                failure = error
            last = await shown.end()
            tasks.cancel_scope.cancel()
    if isinstance(last, Failed):
        raise failure or TunnelError(last.message)


class _Shown:
    """Shows each status, and waits for the last one."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._ended = anyio.Event()
        self._last: TunnelStatus = Idle()

    def show(self, status: TunnelStatus) -> None:
        if self._ended.is_set():
            return  # leaving the context stops a failed tunnel as well; that is not shown
        self._last = status
        self._view.show(status)
        if isinstance(status, Stopped | Failed):
            self._ended.set()

    async def end(self) -> TunnelStatus:
        await self._ended.wait()
        return self._last


async def _stop_when_asked(tunnel: Tunnel, stop: StopSignals) -> None:
    await stop.wait()
    await tunnel.stop()
