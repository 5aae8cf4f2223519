"""Checks before a tunnel is opened: the configuration, its secrets, the local port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prx_tunnel_core import trust
from prx_tunnel_core._configfile import Config
from prx_tunnel_core._health.local_port import accepts_now, strangers
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core._plugins.choices import Choice, choices
from prx_tunnel_core._supervisor.observers import settings_of
from prx_tunnel_core.config import BackendConfig, ConfigModel, TunnelConfig, validate
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.secrets import literal_secrets, secrets_of
from prx_tunnel_core.text import one_line

LOCAL_PATIENCE = 0.5  # seconds; a connection on loopback takes microseconds


def check(
    config: Config, plugins: PluginRegistry, *, listening: bool = True
) -> tuple[list[str], list[str]]:
    """Warnings for the user, and the secrets to mask in logs.

    `listening`: whether the local port should accept connections by now. Raises ConfigError and
    PluginError.
    """
    tables = validated(config, plugins)
    about_port = _about_port(config.tunnel, listening=listening)
    secrets = [secret for _, settings, _ in tables for secret in secrets_of(settings)]
    return [*config.warnings, *_about_secrets(config, tables), *about_port], secrets


def validated(
    config: Config, plugins: PluginRegistry
) -> list[tuple[str, ConfigModel, Mapping[str, Any]]]:
    """The path, the validated configuration and the table of the backend and of each observer.

    Raises ConfigError, with the name of the file, and PluginError.
    """
    try:
        return list(_tables(config, plugins))
    except ConfigError as error:
        where = "" if config.path is None else f"{config.path}: "
        raise ConfigError(f"{where}{error}") from None


def _tables(
    config: Config, plugins: PluginRegistry
) -> Iterator[tuple[str, ConfigModel, Mapping[str, Any]]]:
    backend = plugins.backend(config.tunnel.backend)
    path, table = f"tunnel.{backend.name}", config.tunnel.table(backend.name)
    yield path, validate(backend.config, table, path=path), table
    for observer in plugins.observers(config.tables):
        yield observer.name, *settings_of(observer, config.tables)


def known_url(config: TunnelConfig, plugins: PluginRegistry) -> str | None:
    """The public URL if the configuration alone determines it."""
    backend = plugins.backend(config.backend)
    table = config.table(backend.name)
    settings: BackendConfig = validate(backend.config, table, path=f"tunnel.{backend.name}")
    return settings.known_url()


def _about_secrets(
    config: Config, tables: Iterable[tuple[str, ConfigModel, Mapping[str, Any]]]
) -> Iterator[str]:
    literal = [
        key
        for path, settings, table in tables
        for key in literal_secrets(settings, table, path=path)
    ]
    for key in literal:
        yield f"{key} is stored in the file in plain text; use ${{NAME}} and set that variable"
    if literal and config.path is not None and trust.readable_by_others(str(config.path)):
        yield f"other users can read the secrets in {config.path}; run: chmod go-r {config.path}"


def _about_port(config: TunnelConfig, *, listening: bool) -> Iterator[str]:
    accepts = accepts_now(config.local_host, config.local_port, patience=LOCAL_PATIENCE)
    where = f"{config.local_host} port {config.local_port}"
    if listening and not accepts:
        yield f"nothing listens on {where} yet; requests fail until your app does"
    if accepts and not listening:
        yield f"another program listens on {where} before the agent starts; the tunnel leads to it"
    for uid in strangers(config.local_host, config.local_port):
        yield f"{where} belongs to another user (uid {uid}); make sure that it is your app"


def require_choice(plugins: PluginRegistry, config: Config, *, port_given: bool) -> None:
    """Raise ConfigError, which lists the backends, if none was selected.

    Without a `[tunnel]` table, the default backend is used only if a port was given, so that a
    tunnel was asked for, and if that backend works on this machine.
    """
    found = choices(plugins)
    usable = [choice for choice in found if not choice.lacks and not choice.needs_settings]
    if port_given and any(choice.name == config.tunnel.backend for choice in usable):
        return
    raise ConfigError("\n".join(_explain(found, config)))


def _explain(found: list[Choice], config: Config) -> Iterator[str]:
    lacking = (
        "there is no configuration file"
        if config.path is None
        else f"{config.path} has no [tunnel] table"
    )
    yield f"no backend is selected: {lacking}, and --backend is not given"
    if not found:
        yield "No backend is installed; install one, for example: pip install prx-tunnel-ssh"
        return
    usable = [choice for choice in found if not choice.lacks]
    if usable:
        yield "Ready to use:"
    for choice in usable:
        yield from _line(choice, f"prx tunnel start --backend {choice.name} ", config.tunnel)
    if len(usable) < len(found):
        yield "Installed, but not ready:"
    for choice in found:
        if choice.lacks:
            yield f"  {choice.name:<12}{one_line(choice.lacks)}"
    yield "To save your choice in a configuration file, run: prx init --backend NAME"


def _line(choice: Choice, command: str, config: TunnelConfig) -> Iterator[str]:
    yield f"  {choice.name:<12}{one_line(choice.backend.summary)}"
    if choice.needs_settings:
        yield f"  {'':<12}needs configuration: prx init --backend {choice.name}"
    else:
        yield f"  {'':<12}{command}--port {config.local_port}"
