"""Hooks and observers of a tunnel: they can neither alter, block nor break it."""

from __future__ import annotations

import inspect
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from typing import Any

import anyio
import anyio.abc

from prx_tunnel_core._isolation import ForeignError, call_in_thread, contain
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core._plugins.loading import LoadedPlugin
from prx_tunnel_core._supervisor.broadcast import StatusBroadcast, Watch
from prx_tunnel_core.backend import Observer, TunnelView
from prx_tunnel_core.config import ConfigModel, validate
from prx_tunnel_core.errors import unwrap_group
from prx_tunnel_core.expansion import expand
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import TunnelHealth, TunnelStatus
from prx_tunnel_core.secrets import secrets_of
from prx_tunnel_core.text import Redactor

logger = get_logger("prx_tunnel_core")

DEADLINE = 5.0  # seconds for one plugin's hook
LAST_HOOKS = 1.0  # seconds for the hooks of the last status; one that hangs delays the end no more
LAST_WORDS = 5.0  # seconds for observers to end; some take back what they told a provider

_Event = tuple[str, Mapping[str, object]]
"""The name of a hook and its arguments."""


class Observation:
    """The observers of one tunnel: hooks, called one after the other, and what runs beside it."""

    def __init__(
        self,
        name: str,
        statuses: StatusBroadcast,
        plugins: PluginRegistry,
        tables: Mapping[str, Any],
    ) -> None:
        self._name = name
        self._view = _View(name, statuses)
        self._plugins = plugins
        self._tables = tables
        self._events: Watch[_Event] = Watch()
        self._companions: list[_Companion] = []
        self._all_called = anyio.Event()
        statuses.listen(self._status_changed)

    async def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start those that the configuration asks for; raises ConfigError for their tables."""
        self._events = Watch()
        self._all_called = anyio.Event()
        # First: when a table is wrong, `end` still waits for this.
        tasks.start_soon(self._call_hooks)
        self._plugins.load_watchers()
        self._companions = [
            _Companion(observer, settings_of(observer, self._tables)[0], self._view)
            for observer in self._plugins.observers(self._tables)
        ]
        for companion in self._companions:
            tasks.start_soon(companion.live)

    async def end(self) -> None:
        """Pass on the last status, then end the observers, in bounded time."""
        self._events.close()
        with anyio.move_on_after(LAST_HOOKS):
            await self._all_called.wait()
        for companion in self._companions:
            companion.scope.cancel()
        with anyio.move_on_after(LAST_WORDS):
            for companion in self._companions:
                await companion.ended.wait()

    def health_checked(self, health: TunnelHealth) -> None:
        arguments = {"tunnel": self._name, "health": health}
        self._events.put(("prx_tunnel_health_checked", arguments))

    def _status_changed(self, old: TunnelStatus, new: TunnelStatus) -> None:
        arguments = {"tunnel": self._name, "old": old, "new": new}
        self._events.put(("prx_tunnel_status_changed", arguments))

    def states(self) -> Mapping[str, Mapping[str, str]]:
        return {companion.observer.name: companion.state() for companion in self._companions}

    async def _call_hooks(self) -> None:
        try:
            async for hook, arguments in self._events:
                await notify(self._plugins.loaded(), hook, arguments)
        finally:
            self._all_called.set()


class _Companion:
    """An `Observer` beside the tunnel."""

    def __init__(self, observer: Observer[Any], settings: ConfigModel, view: TunnelView) -> None:
        self.observer = observer
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self._settings = settings
        self._redact = Redactor(secrets_of(settings))
        self._view = view
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
    """The `TunnelView` of an observer, which gives access to nothing else."""

    def __init__(self, name: str, statuses: StatusBroadcast) -> None:
        self.name = name
        self._statuses = statuses

    @property
    def status(self) -> TunnelStatus:
        return self._statuses.now

    def watch(self) -> AsyncIterator[TunnelStatus]:
        return self._statuses.watch()

    def urls(self) -> AsyncIterator[str]:
        return self._statuses.urls()


def settings_of(
    observer: Observer[Any], tables: Mapping[str, Any]
) -> tuple[ConfigModel, Mapping[str, Any]]:
    """Its validated configuration, and the table it was read from; raises ConfigError."""
    table = expand(tables[observer.name], os.environ, path=observer.name)
    if not isinstance(table, dict):
        table = {}
    return validate(observer.config, table, path=observer.name), table


async def notify(
    plugins: Iterable[LoadedPlugin],
    hook: str,
    arguments: Mapping[str, object],
    *,
    deadline: float = DEADLINE,
) -> None:
    """Call the hook of each plugin that implements it; never raises but when cancelled.

    Without such a plugin it does not even yield to the event loop.
    """
    for plugin in plugins:
        if not plugin.implements(hook):
            continue
        try:
            await contain(partial(_call, plugin, hook, arguments), deadline=deadline)
        except ForeignError as error:
            _log(plugin, hook, error)


async def _call(plugin: LoadedPlugin, hook: str, arguments: Mapping[str, object]) -> None:
    if plugin.is_async(hook):
        results = plugin.call(hook, arguments)
    else:
        results = await _call_in_thread(plugin, hook, arguments)
    for result in results:
        # Also what a plain function returned: a decorator hides that there is a coroutine inside.
        if inspect.isawaitable(result):
            await result


async def _call_in_thread(
    plugin: LoadedPlugin, hook: str, arguments: Mapping[str, object]
) -> list[object]:
    if not plugin.returned.is_set():
        # Otherwise each event would leave one more thread behind in the same place.
        raise ForeignError("skipped: an earlier call has still not returned")
    returned = threading.Event()

    def call() -> list[object]:
        try:
            return plugin.call(hook, arguments)
        finally:
            returned.set()

    try:
        return await call_in_thread(call)
    except anyio.get_cancelled_exc_class():
        plugin.returned = returned
        raise


def _log(plugin: LoadedPlugin, hook: str, error: ForeignError) -> None:
    traceback = error.__cause__ if logger.isEnabledFor(logging.DEBUG) else None
    logger.warning("%s: %s: %s", plugin.label, hook, error, exc_info=traceback)
