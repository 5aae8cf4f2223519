"""`prx tunnel doctor`: checks of this machine, each with its fix.

This module has `examine` and the checks of the clock, the plugins and the configuration.

backend   the selected backend: its configuration, its program and its servers
tunnel    the local port, the running tunnel, and what killed processes left behind
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from prx_tunnel_core._configfile import Config, load
from prx_tunnel_core._doctor.backend import check_backend
from prx_tunnel_core._doctor.tunnel import (
    check_leftovers,
    check_local_port,
    check_orphans,
    check_tunnel,
)
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core._plugins.choices import best
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.models import Check

DAY = 86_400.0  # seconds

_NOTHING: Mapping[str, Any] = MappingProxyType({})


async def examine(
    config_path: str | os.PathLike[str] | None = None,
    *,
    name: str = "default",
    overrides: Mapping[str, Any] = _NOTHING,
    plugins: PluginRegistry | None = None,
) -> AsyncIterator[Check]:
    """Yield the result of each check as soon as it is known.

    `fail` needs to be fixed, `unknown` deserves a look. `name` is the tunnel's name, `overrides`
    are those of `_configfile.load`. Raises nothing, and no result contains a secret.
    """
    plugins = plugins if plugins is not None else PluginRegistry()
    yield _clock()
    for check in _plugins(plugins):
        yield check
    try:
        config = load(config_path, overrides=overrides)
    except ConfigError as error:
        yield Check("configuration", "fail", str(error))
    else:
        yield _configuration(config)
        if config.path is None and "backend" not in overrides:
            config = _with_usable_backend(config, plugins)
        async for check in check_backend(config, plugins):
            yield check
        yield await check_local_port(config.tunnel)
        async for check in check_tunnel(name, config.tunnel):
            yield check
    for find in (check_leftovers, check_orphans):
        for check in find():
            yield check


def _clock() -> Check:
    """Whether the clock is plausible: with one in the past, TLS rejects valid certificates."""
    installed = os.stat(__file__).st_mtime
    if time.time() < installed - DAY:
        now = time.strftime("%Y-%m-%d %H:%M")
        return Check("clock", "fail", f"the time is {now}, before prx was installed; set the clock")
    return Check("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S %z"))


def _plugins(plugins: PluginRegistry) -> Iterator[Check]:
    for plugin in plugins.listing():
        if plugin.problem:
            # Disabled by the user: worth mentioning, but nothing to fix.
            verdict: Any = "unknown" if plugin.problem.startswith("switched off") else "fail"
            whose = f"{plugin.distribution} {plugin.version}".strip()
            # Some problems begin with the distribution already.
            prefix = "" if plugin.problem.startswith(whose) else f"{whose}: "
            yield Check(f"plugin {plugin.name}", verdict, f"{prefix}{plugin.problem}")


def _with_usable_backend(config: Config, plugins: PluginRegistry) -> Config:
    """The configuration with the backend that `prx init` would choose."""
    choice = best(plugins)
    if choice is None:
        return config
    return replace(config, tunnel=config.tunnel.model_copy(update={"backend": choice.name}))


def _configuration(config: Config) -> Check:
    if config.path is None:
        return Check("configuration", "ok", "no file; write one with: prx init")
    if config.warnings:
        return Check("configuration", "fail", "; ".join(config.warnings))
    return Check("configuration", "ok", str(config.path))
