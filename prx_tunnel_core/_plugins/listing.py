"""What `prx tunnel backends` shows of each plugin, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from prx_tunnel_core._plugins.discovery import WATCHERS, FoundPlugin
from prx_tunnel_core._plugins.loading import load
from prx_tunnel_core.backend import Backend, Observer
from prx_tunnel_core.errors import PluginError, SetupError


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPlugin:
    name: str
    distribution: str
    version: str = ""
    summary: str = ""
    program: str | None = None
    """The executable that it needs."""
    program_path: str | None = None
    """Where that is, when it is found and may be trusted."""
    install_hint: str = ""
    problem: str = ""
    """Why it cannot be used; empty when it can."""
    kind: Literal["backend", "observer", "watcher"] = "backend"
    """`watcher`: implements hooks only; `backend` also when it does not load and nobody knows."""


def blank_entry(found: FoundPlugin) -> ListedPlugin:
    """What is known of a plugin before it is imported."""
    return ListedPlugin(
        name=found.name,
        distribution=found.distribution,
        version=found.version,
        kind="watcher" if found.group == WATCHERS else "backend",
    )


def listed(found: FoundPlugin) -> ListedPlugin:
    """Import one plugin, alone, and tell what it provides or why it cannot."""
    blank = blank_entry(found)
    try:
        plugin = load(found)
        if found.group == WATCHERS:
            return blank
        own = plugin.backends.get(found.name) or plugin.observers.get(found.name)
    except PluginError as error:
        return replace(blank, problem=str(error))
    if own is None:
        return replace(blank, problem=f"provides no backend and no observer named {found.name!r}")
    return described(own, blank)


def described(own: Backend[Any] | Observer[Any], blank: ListedPlugin) -> ListedPlugin:
    """The entry with what the plugin says of itself filled in."""
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
