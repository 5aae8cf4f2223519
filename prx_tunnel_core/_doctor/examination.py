"""Look at everything, in the order in which it would be needed."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from prx_tunnel_core._configfile import Config, load
from prx_tunnel_core._doctor.backend import look_at_backend
from prx_tunnel_core._doctor.local import look_at_local_port
from prx_tunnel_core._doctor.running import look_at_leftovers, look_at_orphans, look_at_tunnel
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
    """Each finding as soon as it is made: `fail` needs to be fixed, `unknown` deserves a look.

    `overrides` are as for `configfile.load`, `name` is that of the tunnel. Raises nothing: what is
    wrong is a finding. No finding holds a secret.
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
        async for check in look_at_backend(config, plugins):
            yield check
        yield await look_at_local_port(config.tunnel)
        async for check in look_at_tunnel(name, config.tunnel):
            yield check
    for look in (look_at_leftovers, look_at_orphans):
        for check in look():
            yield check


def _clock() -> Check:
    """TLS believes the clock: certificates of today are not valid in the past."""
    installed = os.stat(__file__).st_mtime
    if time.time() < installed - DAY:
        now = time.strftime("%Y-%m-%d %H:%M")
        return Check("clock", "fail", f"it is {now} here, before prx was installed; set the clock")
    return Check("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S %z"))


def _plugins(plugins: PluginRegistry) -> Iterator[Check]:
    for plugin in plugins.listing():
        if plugin.problem:
            # Its owner has switched it off on purpose: worth a word, and nothing to mend.
            verdict: Any = "unknown" if plugin.problem.startswith("switched off") else "fail"
            whose = f"{plugin.distribution} {plugin.version}".strip()
            # What says itself whose problem it is, is not told so twice.
            prefix = "" if plugin.problem.startswith(whose) else f"{whose}: "
            yield Check(f"plugin {plugin.name}", verdict, f"{prefix}{plugin.problem}")


def _with_usable_backend(config: Config, plugins: PluginRegistry) -> Config:
    """Where nobody has chosen a backend, the one that `prx init` would choose."""
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
