"""Selects plugins by name and by table of the configuration, and lists them with their problems."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NoReturn

from prx_tunnel_core._plugins.loading import (
    PLUGINS,
    WATCHERS,
    FoundPlugin,
    LoadedPlugin,
    canonical,
    find_installed,
    load,
)
from prx_tunnel_core._plugins.names import missing_backend
from prx_tunnel_core.backend import Backend, Observer
from prx_tunnel_core.errors import ConfigError, PluginError, SetupError, UnknownBackend
from prx_tunnel_core.logs import get_logger

logger = get_logger(__name__)

SWITCH = "PRX_TUNNEL_DISABLED_PLUGINS"
"""The variable that disables entry points or distributions, separated by commas; `*` for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPlugin:
    """What `prx tunnel backends` shows of a plugin."""

    name: str
    distribution: str
    version: str = ""
    summary: str = ""
    program: str | None = None
    """The executable that it needs."""
    program_path: str | None = None
    """The path of that, when it is found and trusted."""
    install_hint: str = ""
    problem: str = ""
    """Why the plugin cannot be used; "" when it can."""
    kind: Literal["backend", "observer", "watcher"] = "backend"
    """`watcher`: implements hooks only. A plugin that does not load is listed as `backend`."""


class PluginRegistry:
    """The plugins that one host application uses. Nothing is searched before it is needed.

    `environ` has the switch `PRX_TUNNEL_DISABLED_PLUGINS`. `entry_points` replaces the search among
    the installed distributions.

        plugins = PluginRegistry()
        plugins.register(my_backend_module)
        async with Tunnel(config, plugins=plugins) as tunnel:
            ...
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str] = os.environ,
        entry_points: Callable[[], Iterable[FoundPlugin]] | None = None,
    ) -> None:
        self._environ = environ
        self._find = entry_points or find_installed
        self._registered: list[LoadedPlugin] = []
        self._loaded: dict[FoundPlugin, LoadedPlugin] = {}
        self.problems: list[str] = []
        """Problems of plugins that were not selected by name: observers and watchers."""

    def refresh(self) -> None:
        """Search again for installed plugins, after one was installed or removed.

        Without it, the search is made once per process. Imported plugins stay as they are: Python
        does not unload modules, so a new version of one is used by the next process.

            plugins = PluginRegistry()
            subprocess.run([sys.executable, "-m", "pip", "install", "prx-tunnel-ssh"], check=True)
            plugins.refresh()
            plugins.backend("ssh")
        """
        importlib.invalidate_caches()
        find_installed.cache_clear()
        vars(self).pop("_found", None)

    def register(self, plugin: object, *, name: str | None = None) -> None:
        """Add a plugin without an entry point: a module or an object with hooks.

        Its backends may have any name, but an installed plugin of the same name is a conflict.
        Raises PluginError when its hooks, or the objects that they yield, are invalid.
        """
        label = name or getattr(plugin, "__name__", type(plugin).__name__)
        loaded = LoadedPlugin(plugin, label=f"registered plugin {label}")
        # Called now, because the host that registers the plugin is able to correct it.
        _ = loaded.backends, loaded.observers
        self._registered.append(loaded)

    def backend(self, name: str) -> Backend[Any]:
        """The backend of that name; only its plugin is imported.

        Raises UnknownBackend, with the command that installs it, and PluginError when its plugin is
        broken, switched off, or not the only one of that name.
        """
        plugin = self._only(name, [p for p in self._registered if name in p.backends])
        if plugin is None:
            self._raise_missing(name)
        if name not in plugin.backends:
            raise _misnamed(plugin, name, "backend", plugin.backends)
        return plugin.backends[name]

    def observers(self, tables: Mapping[str, Any]) -> list[Observer[Any]]:
        """The observers whose table is among the top-level tables.

        A broken one is added to `problems`. Raises ConfigError for the table of a backend, which
        belongs below `[tunnel]`.
        """
        chosen: list[Observer[Any]] = []
        for name in (name for name, table in tables.items() if isinstance(table, Mapping)):
            try:
                plugin = self._only(name, [p for p in self._registered if name in p.observers])
                if plugin is not None and name not in plugin.observers:
                    if name in plugin.backends:
                        raise ConfigError(
                            f"[{name}]: {plugin.label} provides a backend; write [tunnel.{name}]"
                        )
                    raise _misnamed(plugin, name, "observer", plugin.observers)
            except PluginError as error:
                self._report(f"[{name}]: {error}")
            else:
                chosen += [plugin.observers[name]] if plugin is not None else []
        return chosen

    def load_watchers(self) -> None:
        """Import the plugins of the group `prx_tunnel.observers`; add broken ones to `problems`."""
        for found in self._found:
            if found.group == WATCHERS and not self._is_off(found):
                try:
                    self._load(found)
                except PluginError as error:
                    self._report(str(error))

    def listing(self) -> list[ListedPlugin]:
        """Every plugin with its problem, if it has one; imports each of them, alone."""
        entries = [self._list(found) for found in self._found]
        for plugin in self._registered:
            blank = ListedPlugin(name="", distribution=plugin.label)
            own: list[Backend[Any] | Observer[Any]] = [
                *plugin.backends.values(),
                *plugin.observers.values(),
            ]
            entries += [_described(descriptor, blank) for descriptor in own]
        return entries

    def loaded(self) -> list[LoadedPlugin]:
        """The plugins that were registered or imported so far, each once."""
        return list(dict.fromkeys((*self._registered, *self._loaded.values())))

    @cached_property
    def _found(self) -> tuple[FoundPlugin, ...]:
        """All of them, in an order that does not depend on the file system."""
        by = sorted(self._find(), key=lambda f: (f.group, f.name, f.distribution, f.version))
        return tuple(by)

    def _is_off(self, found: FoundPlugin) -> bool:
        off = {canonical(name.strip()) for name in self._environ.get(SWITCH, "").split(",")} - {""}
        return not off.isdisjoint({"*", canonical(found.name), canonical(found.distribution)})

    def _load(self, found: FoundPlugin) -> LoadedPlugin:
        if found not in self._loaded:
            plugin = load(found)
            # Several entry points may name one module, whose hooks are called once.
            same = (p for p in self.loaded() if p.plugin is plugin.plugin)
            self._loaded[found] = next(same, plugin)
        return self._loaded[found]

    def _named(self, name: str) -> list[FoundPlugin]:
        named = (f for f in self._found if f.group == PLUGINS and f.name == name)
        return [found for found in named if not self._is_off(found)]

    def _only(self, name: str, registered: list[LoadedPlugin]) -> LoadedPlugin | None:
        """The one plugin of that name; PluginError, before any import, when there are several."""
        found = self._named(name)
        if len(found) == len(registered) == 1 and self._load(found[0]) is registered[0]:
            return registered[0]
        if len(found) + len(registered) > 1:
            labels = " and ".join([*(f.label for f in found), *(p.label for p in registered)])
            raise PluginError(
                f"{name!r} is provided by {labels}: uninstall all but one, or name the "
                f"distributions not to use in {SWITCH}"
            )
        return registered[0] if registered else self._load(found[0]) if found else None

    def _raise_missing(self, name: str) -> NoReturn:
        for found in self._found:
            if found.group == PLUGINS and found.name == name:
                raise PluginError(f"backend {name!r} ({found.label}) is switched off by {SWITCH}")
        names = {found.name for found in self._found if found.group == PLUGINS}
        names |= {backend for plugin in self._registered for backend in plugin.backends}
        raise UnknownBackend(missing_backend(name, names))

    def _list(self, found: FoundPlugin) -> ListedPlugin:
        if self._is_off(found):
            return replace(_blank_entry(found), problem=f"switched off by {SWITCH}")
        entry = _listed(found)
        rivals = [other.label for other in self._named(found.name) if other is not found]
        if found.group == PLUGINS and rivals and not entry.problem:
            return replace(entry, problem=f"{' and '.join(rivals)} has the same name")
        return entry

    def _report(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
            logger.warning("%s", problem)


def _misnamed(plugin: LoadedPlugin, name: str, kind: str, provided: Iterable[str]) -> PluginError:
    return PluginError(
        f"{plugin.label}: provides no {kind} {name!r} (but: {', '.join(provided) or 'none'}); "
        "its entry point and what it yields must have one name"
    )


def _blank_entry(found: FoundPlugin) -> ListedPlugin:
    """The entry of a plugin that is not imported."""
    return ListedPlugin(
        name=found.name,
        distribution=found.distribution,
        version=found.version,
        kind="watcher" if found.group == WATCHERS else "backend",
    )


def _listed(found: FoundPlugin) -> ListedPlugin:
    """The entry of a plugin that is imported for it, or the reason why that failed."""
    blank = _blank_entry(found)
    try:
        plugin = load(found)
        if found.group == WATCHERS:
            return blank
        own = plugin.backends.get(found.name) or plugin.observers.get(found.name)
    except PluginError as error:
        return replace(blank, problem=str(error))
    if own is None:
        return replace(blank, problem=f"provides no backend and no observer named {found.name!r}")
    return _described(own, blank)


def _described(own: Backend[Any] | Observer[Any], blank: ListedPlugin) -> ListedPlugin:
    """The entry, completed from the descriptor that the plugin yielded."""
    entry = replace(blank, name=own.name, summary=own.summary)
    if isinstance(own, Observer):
        return replace(entry, kind="observer")
    return replace(
        entry,
        program=own.program,
        program_path=_path_of(own.program),
        install_hint=own.install_hint,
    )


def _path_of(program: str | None) -> str | None:
    if program is None:
        return None
    from prx_tunnel_core.process import find_program

    try:
        return find_program(program)
    except SetupError:
        return None
