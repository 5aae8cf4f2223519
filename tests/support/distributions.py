"""Installed distributions, as an installer would have left them in a folder."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from prx_tunnel_core._plugins import ListedPlugin, PluginRegistry, find_installed

HEADER = """
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from prx_tunnel_core import AnyBackend, AnyObserver, Backend, BackendConfig, Observer, ConfigModel
from prx_tunnel_core import hookimpl
"""


def backend(*names: str) -> str:
    """The source of a module whose hook yields backends of these names."""
    yields = "\n".join(
        f"    yield Backend(name={name!r}, summary='the {name}', config=BackendConfig, connect=id)"
        for name in names
    )
    return f"{HEADER}\n@hookimpl\ndef prx_tunnel_backends():\n{yields}\n"


def observer(*names: str) -> str:
    yields = "\n".join(
        f"    yield Observer(name={name!r}, summary='the {name}', config=ConfigModel, run=id)"
        for name in names
    )
    return f"{HEADER}\n@hookimpl\ndef prx_tunnel_observers():\n{yields}\n"


class Site:
    """A folder on `sys.path`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        distribution: str,
        entry_points: str | bytes,
        *,
        version: str = "1.0",
        metadata: bool = True,
        modules: Mapping[str, str] = MappingProxyType({}),
        seen: bool = True,
    ) -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        if isinstance(entry_points, str):
            entry_points = textwrap.dedent(entry_points).encode()
        (info / "entry_points.txt").write_bytes(entry_points)
        if metadata:
            text = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
            (info / "METADATA").write_text(text)
        for name, source in modules.items():
            self.module(name, source)
        if seen:
            find_installed.cache_clear()

    def module(self, name: str, source: str) -> None:
        (self.folder / f"{name}.py").write_text(textwrap.dedent(source))

    def plugin(self, name: str, source: str, *, version: str = "1.0", seen: bool = True) -> None:
        """`prx-tunnel-<name>` with one entry point, to a module of that source.

        Unless `seen`, this process goes on with the plugins that it has found before.
        """
        module = f"site_{name}"
        self.install(
            f"prx-tunnel-{name}",
            f"[prx_tunnel]\n{name} = {module}\n",
            version=version,
            modules={module: source},
            seen=seen,
        )


def forget_modules_of(folder: Path, *, known: Collection[str]) -> None:
    """Let nothing that was imported from the folder stay, but what was there before."""
    for name in set(sys.modules) - set(known):
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


def listed(name: str, plugins: PluginRegistry | None = None) -> ListedPlugin:
    (entry,) = (entry for entry in (plugins or PluginRegistry()).listing() if entry.name == name)
    return entry
