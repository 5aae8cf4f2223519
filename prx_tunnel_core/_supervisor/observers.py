"""Those who watch a tunnel: they can neither alter, block nor break it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc

from prx_tunnel_core._supervisor.broadcast import Watch
from prx_tunnel_core.backend import Observer
from prx_tunnel_core.config import ConfigModel, secrets_of, validate
from prx_tunnel_core.errors import unwrap_group
from prx_tunnel_core.expansion import expand
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import TunnelHealth, TunnelStatus
from prx_tunnel_core.text import Redactor

if TYPE_CHECKING:
    from prx_tunnel_core._plugins import PluginRegistry
    from prx_tunnel_core.tunnel import Tunnel

logger = get_logger("prx_tunnel_core")

LAST_HOOKS = 1.0  # seconds for hooks to hear of the end; one that hangs delays it by no more
LAST_WORDS = 5.0  # seconds for observers to end; some take back what they told a provider

_Event = TunnelHealth | tuple[TunnelStatus, TunnelStatus]


class Observation:
    """All observers of one tunnel: the hooks, told one by one, and what lives beside it."""

    def __init__(self, tunnel: Tunnel, plugins: PluginRegistry, tables: Mapping[str, Any]) -> None:
        self._tunnel = tunnel
        self._plugins = plugins
        self._tables = tables
        self._events: Watch[_Event] = Watch()
        self._companions: list[_Companion] = []
        self._told = anyio.Event()

    async def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start those that the configuration asks for; raises ConfigError for their tables."""
        self._events = Watch()
        self._told = anyio.Event()
        # First: when a table is wrong, `end` still waits for this.
        tasks.start_soon(self._tell)
        self._plugins.load_watchers()
        self._companions = [
            _Companion(observer, settings_of(observer, self._tables)[0], self._tunnel)
            for observer in self._plugins.observers(self._tables)
        ]
        for companion in self._companions:
            tasks.start_soon(companion.live)

    async def end(self) -> None:
        """Let them hear of the last status; then end them, in bounded time."""
        self._events.close()
        with anyio.move_on_after(LAST_HOOKS):
            await self._told.wait()
        for companion in self._companions:
            companion.scope.cancel()
        with anyio.move_on_after(LAST_WORDS):
            for companion in self._companions:
                await companion.ended.wait()

    def status_changed(self, old: TunnelStatus, new: TunnelStatus) -> None:
        self._events.put((old, new))

    def health_checked(self, health: TunnelHealth) -> None:
        self._events.put(health)

    def states(self) -> Mapping[str, Mapping[str, str]]:
        return {companion.observer.name: companion.state() for companion in self._companions}

    async def _tell(self) -> None:
        try:
            async for event in self._events:
                if isinstance(event, TunnelHealth):
                    await self._plugins.health_checked(self._tunnel.name, event)
                else:
                    await self._plugins.status_changed(self._tunnel.name, *event)
        finally:
            self._told.set()


class _Companion:
    """An `Observer` beside the tunnel."""

    def __init__(self, observer: Observer[Any], settings: ConfigModel, tunnel: Tunnel) -> None:
        self.observer = observer
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self._settings = settings
        self._redact = Redactor(secrets_of(settings))
        self._view = _View(tunnel)
        self._state: Callable[[], Mapping[str, str]] = lambda: {"state": "starting"}

    async def live(self) -> None:
        try:
            with self.scope, unwrap_group():
                async with self.observer.run(self._settings, self._view) as state:
                    self._state = state
                    await anyio.sleep_forever()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer is foreign code
            reason = self._redact(f"{type(error).__name__}: {error}")
            logger.error("observer %r failed: %s", self.observer.name, reason)  # noqa: TRY400
            self._state = lambda: {"state": "failed", "reason": reason}
        finally:
            self.ended.set()

    def state(self) -> Mapping[str, str]:
        try:
            return {key: self._redact(str(text)) for key, text in self._state().items()}
        except Exception as error:  # noqa: BLE001 - an observer is foreign code
            return {"state": "unknown", "reason": self._redact(repr(error))}


class _View:
    """The tunnel as an observer sees it: nothing to hold it by."""

    def __init__(self, tunnel: Tunnel) -> None:
        self.name = tunnel.name
        self.watch = tunnel.watch
        self.urls = tunnel.urls
        self._tunnel = tunnel

    @property
    def status(self) -> TunnelStatus:
        return self._tunnel.status


def settings_of(
    observer: Observer[Any], tables: Mapping[str, Any]
) -> tuple[ConfigModel, Mapping[str, Any]]:
    """What its table says, and the table they were read from; raises ConfigError."""
    table = expand(tables[observer.name], os.environ, path=observer.name)
    if not isinstance(table, dict):
        table = {}
    return validate(observer.config, table, path=observer.name), table
