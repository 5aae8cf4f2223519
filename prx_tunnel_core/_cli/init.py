"""`prx init`: write a commented configuration file for a backend."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.command import add_config_option, config_path, same_config

if TYPE_CHECKING:
    from pathlib import Path

    from prx_tunnel_core._cli.command import Commands
    from prx_tunnel_core._plugins import PluginRegistry
    from prx_tunnel_core._plugins.choices import Choice
    from prx_tunnel_core.backend import Backend
    from prx_tunnel_core.config import BackendConfig

DESCRIPTION = """\
Write a commented configuration file for a backend and print its path. Asks no questions, and never
overwrites a file. The file is --config, else $PRX_CONFIG, else config.toml in the user's
configuration directory."""

_TUNNEL = """\
# Configuration of prx. Keys that are commented out show their default values.
# Keep tokens in the environment: ${{NAME}} is replaced by the variable NAME.

[tunnel]
# The backend that opens the tunnel; list them with `prx tunnel backends`.
backend = "{backend}"

# The port on 127.0.0.1 that your app listens on.
local_port = {port}

# Whether `prx start` opens the tunnel together with your app.
auto_start = true

# Seconds between health checks, and consecutive failures before a reconnect.
# health_check_interval = 30
# health_check_failures = 3

# Whether health checks also request the public URL.
# health_check_url = true

# Time limit for one connection attempt, in seconds.
# connect_timeout = 60

[tunnel.reconnect]
# enabled = true

# Consecutive failed attempts before the tunnel gives up; 0 means no limit.
# max_attempts = 10

# The first delay between attempts and the longest one, in milliseconds. The delay
# doubles with each attempt.
# backoff_base_ms = 1000
# backoff_max_ms = 60000

[tunnel.{backend}]
"""


def register(commands: Commands) -> None:
    parser = commands.add_parser(
        "init", help="write a commented configuration file", description=DESCRIPTION
    )
    parser.add_argument(
        "--backend", help="backend to configure (default: the first that works here)"
    )
    parser.add_argument("--port", type=int, help="local port that the tunnel forwards to")
    add_config_option(parser, help="file to write")
    parser.set_defaults(parser=parser, run=_run)


def _run(options: Namespace) -> int:
    from prx_tunnel_core._plugins import PluginRegistry

    choice = _chosen(options.backend, PluginRegistry())
    path = config_path(options)
    text = sample(choice.backend, options.port)
    write_new(path, text, show=f"prx config{same_config(options)}")
    streams.write(f"{path}\n")
    streams.complain(f"Backend: {choice.name} ({choice.backend.summary})")
    if choice.lacks:
        streams.complain(f"[WARN] {choice.lacks}")
    streams.complain(f"Next: review the file, then run: prx tunnel start{same_config(options)}")
    return 0


def _chosen(name: str | None, plugins: PluginRegistry) -> Choice:
    from prx_tunnel_core._plugins.choices import best, choices
    from prx_tunnel_core.errors import ConfigError

    if name is None:
        if (choice := best(plugins)) is None:
            raise ConfigError(
                "no backend is installed; install one, for example: pip install prx-tunnel-ssh"
            )
        return choice
    plugins.backend(name)  # raises when it is not installed, or broken
    return next(choice for choice in choices(plugins) if choice.name == name)


def sample(backend: Backend[Any], port: int | None = None) -> str:
    """A configuration file for a backend. Raises ConfigError if the port is not valid."""
    from prx_tunnel_core.config import TunnelConfig, validate

    given = {} if port is None else {"local_port": port}
    tunnel = validate(TunnelConfig, given, path="tunnel")
    head = _TUNNEL.format(backend=backend.name, port=tunnel.local_port)
    return f"{head}{(backend.example or _keys(backend.config)).strip()}\n"


def _keys(config: type[BackendConfig]) -> str:
    """Every key with its default, for a backend without an example."""
    lines = []
    for name, field in config.model_fields.items():
        if field.is_required():
            lines.append(f"# {name} = …  (required)")
        else:
            default = field.get_default(call_default_factory=True, validated_data={})
            lines.append(f"# {name} = {_toml(default)}")
    return "\n".join(lines)


def _toml(value: object) -> str:
    """A default as TOML; "…" if TOML has no such value."""
    from pydantic import SecretStr

    if isinstance(value, SecretStr) or not isinstance(value, bool | int | float | str | list):
        return "…"
    return json.dumps(value, ensure_ascii=False)


def write_new(path: Path, text: str, *, show: str = "prx config") -> None:
    """Create the file with mode 0600. Raises ConfigError if it exists or cannot be written.

    `show` is the command that shows an existing file.
    """
    from prx_tunnel_core.errors import ConfigError

    try:
        # Only this user may write there, whatever the umask.
        for folder in reversed(path.parents):
            folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"{path} exists already and was not changed; show it with: {show}"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}; choose another file with --config"
        ) from None
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
