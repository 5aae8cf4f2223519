"""The hooks that a plugin can implement: to provide backends and observers, and to be notified.

A plugin is a module or an object with functions marked `@hookimpl`, installed under the entry-point
group `prx_tunnel` (or `prx_tunnel.observers`, when it implements only the last two hooks). A
function may leave out arguments that it does not need.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

import pluggy

from prx_tunnel_core.backend import AnyBackend, AnyObserver
from prx_tunnel_core.models import TunnelHealth, TunnelStatus

PROJECT = "prx_tunnel"
"""The entry-point group, and the project name of the pluggy markers."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class TunnelSpecs:
    """The specifications of all hooks."""

    @hookspec
    def prx_tunnel_backends(self) -> Iterable[AnyBackend]:
        """Yield the backends that this plugin provides.

        Called once, when a backend is selected or listed; a plain function, with ten seconds.
        Example::

            class BoreConfig(BackendConfig):
                server: str = "bore.pub"

            @asynccontextmanager
            async def connect(config: BoreConfig, target: Target) -> AsyncIterator[Connection]:
                command = ["bore", "local", str(target.port), "--to", config.server]
                async with open_process(command) as process:
                    port = await process.first_match(listening_port)
                    yield process.connection(f"http://{config.server}:{port}")

            @hookimpl
            def prx_tunnel_backends() -> Iterable[AnyBackend]:
                yield Backend(
                    name="bore", summary="bore", config=BoreConfig, connect=connect, program="bore"
                )
        """
        raise NotImplementedError  # pragma: no cover

    @hookspec
    def prx_tunnel_observers(self) -> Iterable[AnyObserver]:
        """Yield the observers that this plugin provides, each for its own top-level table.

        Called once, when such a table is configured or plugins are listed; a plain function, with
        ten seconds. Example::

            class NotifyConfig(ConfigModel):
                file: str

            @asynccontextmanager
            async def run(config: NotifyConfig, tunnel: TunnelView) -> AsyncIterator[...]:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(write_each_url, config.file, tunnel)
                    yield lambda: {"file": config.file}
                    tasks.cancel_scope.cancel()

            @hookimpl
            def prx_tunnel_observers() -> Iterable[AnyObserver]:
                yield Observer(name="notify", config=NotifyConfig, run=run)
        """
        raise NotImplementedError  # pragma: no cover

    @hookspec
    def prx_tunnel_status_changed(
        self, tunnel: str, old: TunnelStatus, new: TunnelStatus
    ) -> Awaitable[None] | None:
        """Called after each change of the status of the tunnel named `tunnel`.

        May be `async def`; a plain function runs in a thread. Either has five seconds. What it
        raises is logged with the plugin's name, and affects neither the tunnel nor other plugins.
        Example::

            @hookimpl
            async def prx_tunnel_status_changed(tunnel, old, new):
                if isinstance(new, Connected):
                    await announce(new.info.public_url)
        """
        raise NotImplementedError  # pragma: no cover

    @hookspec
    def prx_tunnel_health_checked(
        self, tunnel: str, health: TunnelHealth
    ) -> Awaitable[None] | None:
        """Called after each health check, under the rules of `prx_tunnel_status_changed`.

        Example::

            @hookimpl
            def prx_tunnel_health_checked(tunnel, health):
                gauge.labels(tunnel).set(health.verdict == "healthy")
        """
        raise NotImplementedError  # pragma: no cover
