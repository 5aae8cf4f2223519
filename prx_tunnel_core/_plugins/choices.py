"""The backends that can be chosen on this machine, the best one first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prx_tunnel_core._plugins.names import BACKENDS
from prx_tunnel_core._plugins.registry import ListedPlugin, PluginRegistry
from prx_tunnel_core.backend import Backend
from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Choice:
    """An installed backend."""

    backend: Backend[Any]
    lacks: str = ""
    """What is missing on this machine; "" when nothing is."""
    needs_settings: bool = False
    """Whether it cannot be used without a table in the configuration."""

    @property
    def name(self) -> str:
        return self.backend.name


def choices(plugins: PluginRegistry) -> list[Choice]:
    """The installed backends: first those that work at once, in the order of `names.BACKENDS`."""
    found = [_choice(entry, plugins) for entry in plugins.listing() if _is_backend(entry)]
    return sorted(found, key=lambda choice: (bool(choice.lacks), _rank(choice)))


def _is_backend(entry: ListedPlugin) -> bool:
    return entry.kind == "backend" and not entry.problem


def _rank(choice: Choice) -> tuple[bool, int, str]:
    known = choice.name in BACKENDS
    return choice.needs_settings, BACKENDS.index(choice.name) if known else 99, choice.name


def _choice(entry: ListedPlugin, plugins: PluginRegistry) -> Choice:
    backend = plugins.backend(entry.name)
    lacks = ""
    if entry.program is not None and entry.program_path is None:
        hint = f"; {entry.install_hint}" if entry.install_hint else ""
        lacks = f"the program {entry.program} was not found{hint}"
    try:
        validate(backend.config, _NOTHING, path=f"tunnel.{entry.name}")
    except ConfigError:
        return Choice(backend, lacks, needs_settings=True)
    return Choice(backend, lacks)


def best(plugins: PluginRegistry) -> Choice | None:
    """The backend to start with; None when none is installed."""
    return next(iter(choices(plugins)), None)
