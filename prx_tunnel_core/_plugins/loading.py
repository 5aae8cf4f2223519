"""Find the installed plugins, and turn one into an object whose hooks can be called.

Finding reads metadata and imports nothing. The only module that imports importlib_metadata.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pluggy

from prx_tunnel_core._isolation import ForeignError, call_within, describe
from prx_tunnel_core.backend import Backend, Observer
from prx_tunnel_core.errors import PluginError
from prx_tunnel_core.hookspecs import PROJECT, TunnelSpecs

if TYPE_CHECKING:
    from importlib_metadata import Distribution

PLUGINS = PROJECT
"""The entry-point group of backends and of observers with a table; the entry has their name."""
WATCHERS = f"{PROJECT}.observers"
"""The entry-point group of plugins that only implement hooks; these are always loaded."""
PREFIX = "prx-tunnel-"
"""The distribution of a backend has this prefix, so that core knows how to install it."""

_OUR_SECTION = re.compile(r"^[^\S\n]*+\[prx_tunnel(\.observers)?\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FoundPlugin:
    """An entry point in the metadata of an installed distribution; nothing is imported."""

    name: str
    load: Callable[[], object] = field(compare=False)
    group: str = PLUGINS
    distribution: str = ""
    version: str = ""

    @property
    def label(self) -> str:
        return f"{self.distribution} {self.version}".strip() or self.name


@cache
def find_installed() -> tuple[FoundPlugin, ...]:
    """The entry points of backends and observers among the installed distributions.

    The search is made once per process, because a host may open a tunnel for each visitor. Call
    `find_installed.cache_clear()` after installing or removing a plugin.
    """
    # `entry_points()` raises as soon as one distribution, even an unrelated one, has a malformed
    # file, so each distribution is read alone.
    import importlib_metadata

    found: dict[str, list[FoundPlugin]] = {}
    for distribution in importlib_metadata.Distribution.discover():
        if _is_ours(distribution):
            name, version = _identity(distribution)
            # Of two versions on the path, Python imports the first.
            found.setdefault(canonical(name), _entries(distribution, name, version))
    return tuple(plugin for plugins in found.values() for plugin in plugins)


def _is_ours(distribution: Distribution) -> bool:
    try:
        text = distribution.read_text("entry_points.txt")
    except Exception:  # noqa: BLE001 - an unrelated defect: not UTF-8, an unreadable archive
        return False
    return text is not None and _OUR_SECTION.search(text) is not None


def _identity(distribution: Distribution) -> tuple[str, str]:
    try:
        metadata = distribution.metadata  # parsed once; `name` and `version` would parse it again
        return metadata["Name"], metadata["Version"]
    except Exception:  # noqa: BLE001 - left behind by an interrupted removal
        return "a distribution without metadata", ""


def _entries(distribution: Distribution, name: str, version: str) -> list[FoundPlugin]:
    try:
        entries = [e for e in distribution.entry_points if e.group in (PLUGINS, WATCHERS)]
    except Exception as error:  # noqa: BLE001 - the parser raises TypeError, ValueError and others
        malformed = ValueError(f"its entry_points.txt is malformed: {describe(error)}")

        def fail() -> NoReturn:
            raise malformed

        return [FoundPlugin(name.removeprefix(PREFIX), fail, PLUGINS, name, version)]
    return [FoundPlugin(e.name, e.load, e.group, name, version) for e in entries]


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


DEADLINE = 10.0  # seconds for an import, and for a hook that yields backends or observers

_hanging: set[FoundPlugin] = set()

HOOKS = ", ".join(name for name in dir(TunnelSpecs) if name.startswith(PROJECT))

DescriptorT = TypeVar("DescriptorT", Backend[Any], Observer[Any])


class LoadedPlugin:
    """A plugin in a separate hook manager, where no other can wrap, reorder or break its hooks.

    Raises PluginError when it implements no hook, one that does not exist, or one with unknown
    arguments. `label`, its distribution and version, identifies it in every message.
    """

    def __init__(self, plugin: object, *, label: str) -> None:
        self.plugin = plugin
        self.label = label
        self.returned = threading.Event()
        """Not set while an abandoned hook call is still running in its thread."""
        self.returned.set()
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(TunnelSpecs)
        try:
            self._manager.register(plugin, name=label)
            self._manager.check_pending()
        except Exception as error:
            raise PluginError(f"{label}: {describe(error)}; there are: {HOOKS}") from error
        if plugin is None or not self._manager.get_hookcallers(plugin):
            raise PluginError(f"{label}: implements no hook; is @hookimpl missing?")

    @cached_property
    def backends(self) -> Mapping[str, Backend[Any]]:
        """Its backends by name; raises PluginError when the hook raises or yields another type."""
        return self._descriptors("prx_tunnel_backends", Backend)

    @cached_property
    def observers(self) -> Mapping[str, Observer[Any]]:
        """Its observers by name; raises PluginError like `backends`."""
        return self._descriptors("prx_tunnel_observers", Observer)

    def implements(self, hook: str) -> bool:
        return bool(self._implementations(hook))

    def is_async(self, hook: str) -> bool:
        """Whether every implementation is an `async def`, so that a call only makes coroutines."""
        return all(inspect.iscoroutinefunction(call) for call in self._implementations(hook))

    def call(self, hook: str, arguments: Mapping[str, object]) -> list[object]:
        """The results of the implementations, without None."""
        results: list[object] = getattr(self._manager.hook, hook)(**arguments)
        return results

    def _implementations(self, hook: str) -> list[object]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return [implementation.function for implementation in caller.get_hookimpls()]

    def _descriptors(self, hook: str, kind: type[DescriptorT]) -> dict[str, DescriptorT]:
        def collect() -> dict[str, DescriptorT]:
            found: dict[str, DescriptorT] = {}
            for result in self.call(hook, {}):
                # A generator runs and raises here.
                for item in _iterable(result, kind):
                    _add(found, item, kind)
            return found

        try:
            return call_within(collect, deadline=DEADLINE)
        except PluginError as error:
            raise PluginError(f"{self.label}: {hook}: {error}") from error.__cause__
        except ForeignError as error:
            raise PluginError(f"{self.label}: {hook} {error}") from None
        except (Exception, SystemExit) as error:
            raise PluginError(f"{self.label}: {hook} raised {describe(error)}") from error


def load(found: FoundPlugin) -> LoadedPlugin:
    """Import one plugin and check its hooks.

    Raises PluginError with its distribution and the reason.
    """
    if found in _hanging:  # importing it again would wait for the first import, without end
        raise _hangs(found)
    try:
        plugin = call_within(found.load, deadline=DEADLINE)
    except ForeignError:
        _hanging.add(found)
        raise _hangs(found) from None
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{found.label}: plugin {found.name!r} cannot be loaded: {describe(error)}; "
            f"reinstall or update {found.distribution or 'it'}"
        ) from error
    return LoadedPlugin(plugin, label=found.label)


def any_hangs() -> bool:
    """Whether an abandoned import is still running in its thread."""
    return bool(_hanging)


def _hangs(found: FoundPlugin) -> PluginError:
    return PluginError(
        f"{found.label}: the import of plugin {found.name!r} did not end within {DEADLINE:g} s; "
        f"update or uninstall {found.distribution or 'it'}"
    )


def _iterable(result: object, kind: type) -> Iterable[object]:
    if inspect.iscoroutine(result):
        result.close()  # or the interpreter warns about it later, without a name
        raise PluginError("is an `async def`; write a plain function")
    if not isinstance(result, Iterable):
        raise PluginError(f"returned {type(result).__name__}; yield {kind.__name__} objects")
    return result


def _add(found: dict[str, DescriptorT], item: object, kind: type[DescriptorT]) -> None:
    if not isinstance(item, kind):
        raise PluginError(f"yielded {type(item).__name__}, not {kind.__name__}")
    if item.name in found:
        raise PluginError(f"yielded two of the name {item.name!r}")
    found[item.name] = item
