"""From an entry point to a plugin whose hooks can be called."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import pluggy

from prx_tunnel_core._isolation import ForeignError, call_within, describe
from prx_tunnel_core._plugins.discovery import FoundPlugin
from prx_tunnel_core.backend import Backend, Observer
from prx_tunnel_core.errors import PluginError
from prx_tunnel_core.hookspecs import PROJECT, TunnelSpecs

DEADLINE = 10.0  # seconds for an import, and for a hook that yields backends or observers

_hanging: set[FoundPlugin] = set()

HOOKS = ", ".join(name for name in dir(TunnelSpecs) if name.startswith(PROJECT))

DescriptorT = TypeVar("DescriptorT", Backend[Any], Observer[Any])


class LoadedPlugin:
    """A plugin alone in a hook manager of its own: no other can wrap, reorder or break its hooks.

    Raises PluginError when it implements no hook, one that does not exist, or one with arguments
    that the hook does not have. `label` names it in every message: its distribution and version.
    """

    def __init__(self, plugin: object, *, label: str) -> None:
        self.plugin = plugin
        self.label = label
        self.returned = threading.Event()
        """Not set while a hook call that was given up on is still running in its thread."""
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
        """By name; raises PluginError when the hook raises or yields anything else."""
        return self._descriptors("prx_tunnel_backends", Backend)

    @cached_property
    def observers(self) -> Mapping[str, Observer[Any]]:
        """By name; raises PluginError when the hook raises or yields anything else."""
        return self._descriptors("prx_tunnel_observers", Observer)

    def implements(self, hook: str) -> bool:
        return bool(self._implementations(hook))

    def is_async(self, hook: str) -> bool:
        """Whether calling the hook does nothing but make coroutines."""
        return all(inspect.iscoroutinefunction(call) for call in self._implementations(hook))

    def call(self, hook: str, arguments: Mapping[str, object]) -> list[object]:
        """What each implementation returned, without None."""
        results: list[object] = getattr(self._manager.hook, hook)(**arguments)
        return results

    def _implementations(self, hook: str) -> list[object]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return [implementation.function for implementation in caller.get_hookimpls()]

    def _descriptors(self, hook: str, kind: type[DescriptorT]) -> dict[str, DescriptorT]:
        def collect() -> dict[str, DescriptorT]:
            found: dict[str, DescriptorT] = {}
            for result in self.call(hook, {}):
                # A generator runs, and raises, only here.
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
    """Import one plugin and check its hooks; PluginError names its distribution and the reason."""
    if found in _hanging:  # to import it again would wait for the first import, without end
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
    """Whether an import was given up that goes on in its thread."""
    return bool(_hanging)


def _hangs(found: FoundPlugin) -> PluginError:
    return PluginError(
        f"{found.label}: the import of plugin {found.name!r} did not end within {DEADLINE:g} s; "
        f"update or uninstall {found.distribution or 'it'}"
    )


def _iterable(result: object, kind: type) -> Iterable[object]:
    if inspect.iscoroutine(result):
        result.close()  # or the interpreter warns of it later, without a name
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
