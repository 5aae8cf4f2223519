"""The configuration file that `prx init` writes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from prx_tunnel_core.backend import Backend
from prx_tunnel_core.config import BackendConfig, TunnelConfig, validate
from prx_tunnel_core.errors import ConfigError

_TUNNEL = """\
# Configuration of prx. The keys that are commented out show their defaults.
# Tokens belong in the environment: ${{NAME}} stands for the variable NAME.

[tunnel]
# What opens the tunnel: see `prx tunnel backends`.
backend = "{backend}"

# The port of 127.0.0.1 that your app listens on.
local_port = {port}

# Whether `prx start` opens the tunnel together with your app.
auto_start = true

# Seconds between two health checks, and failed checks in a row before it reconnects.
# health_check_interval = 30
# health_check_failures = 3

# Whether a health check also requests the public URL.
# health_check_url = true

# Seconds that one attempt to connect may take.
# connect_timeout = 60

[tunnel.reconnect]
# enabled = true

# Attempts in a row before it gives up; 0 means no limit.
# max_attempts = 10

# The first delay doubles with each attempt, up to the longest, in milliseconds.
# backoff_base_ms = 1000
# backoff_max_ms = 60000

[tunnel.{backend}]
"""


def sample(backend: Backend[Any], port: int | None = None) -> str:
    """The text of a configuration file for a backend. Raises ConfigError for the port."""
    given = {} if port is None else {"local_port": port}
    tunnel = validate(TunnelConfig, given, path="tunnel")
    head = _TUNNEL.format(backend=backend.name, port=tunnel.local_port)
    return f"{head}{(backend.example or _keys(backend.config)).strip()}\n"


def _keys(config: type[BackendConfig]) -> str:
    """Every key with its default, for a backend that brings no example of its own."""
    lines = []
    for name, field in config.model_fields.items():
        if field.is_required():
            lines.append(f"# {name} = …  (required)")
        else:
            default = field.get_default(call_default_factory=True, validated_data={})
            lines.append(f"# {name} = {_toml(default)}")
    return "\n".join(lines)


def _toml(value: object) -> str:
    """A default as TOML has it; "…" where it has no such value."""
    if isinstance(value, SecretStr) or not isinstance(value, bool | int | float | str | list):
        return "…"
    return json.dumps(value, ensure_ascii=False)


def write_new(path: Path, text: str, *, show: str = "prx config") -> None:
    """Create the file with mode 0600. Raises ConfigError when it exists or cannot be written.

    `show` is the command that shows an existing file.
    """
    try:
        # Nobody else may write there, whatever the umask says.
        for folder in reversed(path.parents):
            folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"{path} exists and was left as it is; see what it says with: {show}"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}; name another file with --config"
        ) from None
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask says
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
