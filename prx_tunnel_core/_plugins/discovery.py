"""Which plugins are installed. The only file that imports importlib_metadata."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NoReturn

from prx_tunnel_core._isolation import describe
from prx_tunnel_core.hookspecs import PROJECT

if TYPE_CHECKING:
    from importlib_metadata import Distribution

PLUGINS = PROJECT
"""The entry-point group of backends and of observers with a table; the entry has their name."""
WATCHERS = f"{PROJECT}.observers"
"""The entry-point group of plugins that only implement hooks; these are always loaded."""
PREFIX = "prx-tunnel-"
"""A distribution is called after its backend, so that core knows how to install one."""

_OUR_SECTION = re.compile(r"^[^\S\n]*+\[prx_tunnel(\.observers)?\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FoundPlugin:
    """An entry point: what the metadata of an installed distribution says, nothing imported."""

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
    # `entry_points()` raises for everybody when one distribution, of whatever purpose, has a
    # malformed file; so each is read alone.
    import importlib_metadata

    found: dict[str, list[FoundPlugin]] = {}
    for distribution in importlib_metadata.Distribution.discover():
        if _is_ours(distribution):
            name, version = _identity(distribution)
            # Of two versions on the path, the first is the one that Python imports.
            found.setdefault(canonical(name), _entries(distribution, name, version))
    return tuple(plugin for plugins in found.values() for plugin in plugins)


def _is_ours(distribution: Distribution) -> bool:
    try:
        text = distribution.read_text("entry_points.txt")
    except Exception:  # noqa: BLE001 - somebody else's damage: not UTF-8, an unreadable archive
        return False
    return text is not None and _OUR_SECTION.search(text) is not None


def _identity(distribution: Distribution) -> tuple[str, str]:
    try:
        metadata = distribution.metadata  # its properties `name` and `version` each parse it anew
        return metadata["Name"], metadata["Version"]
    except Exception:  # noqa: BLE001 - what a removal that was interrupted leaves behind
        return "a distribution without metadata", ""


def _entries(distribution: Distribution, name: str, version: str) -> list[FoundPlugin]:
    try:
        entries = [e for e in distribution.entry_points if e.group in (PLUGINS, WATCHERS)]
    except Exception as error:  # noqa: BLE001 - TypeError, ValueError: what the parser runs into
        malformed = ValueError(f"its entry_points.txt is malformed: {describe(error)}")

        def fail() -> NoReturn:
            raise malformed

        return [FoundPlugin(name.removeprefix(PREFIX), fail, PLUGINS, name, version)]
    return [FoundPlugin(e.name, e.load, e.group, name, version) for e in entries]


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
