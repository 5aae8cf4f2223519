"""What can be seen before a tunnel is opened, and is worth a warning."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from prx_tunnel_core.backend import Backend
from prx_tunnel_core.cli.running import Job
from prx_tunnel_core.config import TunnelConfig, literal_secrets, secrets_of, validate
from prx_tunnel_core.configfile import Config, readable_by_others

LOCAL_PATIENCE = 0.5  # seconds; on loopback an answer takes microseconds


def look(job: Job) -> tuple[list[str], list[str]]:
    """Warnings for a person, and the secrets that no log may show.

    Raises ConfigError and PluginError, before anything is started.
    """
    config = job.config
    backend = job.plugins.backend(config.tunnel.backend)
    path = f"tunnel.{backend.name}"
    settings = validate(backend.config, config.tunnel.table(backend.name), path=path)
    warnings = [*config.warnings, *_about_secrets(config, backend), *_about_port(config.tunnel)]
    return warnings, secrets_of(settings)


def _about_secrets(config: Config, backend: Backend[Any]) -> Iterator[str]:
    name = backend.name
    literal = literal_secrets(backend.config, config.tunnel.table(name), path=f"tunnel.{name}")
    for key in literal:
        yield f"{key} stands in the file itself; write ${{…}} and set the variable"
    if literal and config.path is not None and readable_by_others(config.path):
        yield f"others can read the secrets in {config.path}; run: chmod go-r {config.path}"


def _about_port(config: TunnelConfig) -> Iterator[str]:
    address = (config.local_host, config.local_port)
    try:
        socket.create_connection(address, LOCAL_PATIENCE).close()
    except OSError:
        yield (
            f"nothing listens on {config.local_host} port {config.local_port} yet: "
            "visitors get an error until your program does"
        )
