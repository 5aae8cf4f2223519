"""The call of cloudflared: a configuration file of this backend, the rest by environment.

An unknown flag makes cloudflared print its help and exit with code 0; an unknown variable is
ignored. So what newer and older versions may not know is set by variables, and flags are only what
has no variable. The token is only in `TUNNEL_TOKEN`: `ps` shows arguments to every user.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SecretStr

from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.credentials import Credentials
from prx_tunnel_core.backend import Target
from prx_tunnel_core.expansion import expand_home
from prx_tunnel_core.process import private_file

Protocol = Literal["auto", "quic", "http2"]


@dataclass(frozen=True, slots=True)
class Command:
    arguments: list[str]
    environment: dict[str, str | SecretStr]


@contextmanager
def own_config_file(config: CloudflareConfig, target: Target) -> Iterator[str]:
    """The path of a file that keeps `~/.cloudflared/config.yml` out.

    That file would be read otherwise, also for a quick tunnel, whose visitors would then meet the
    file's ingress. It must exist and must not be empty. JSON is YAML, and needs no quoting rules.
    """
    with private_file("config.yml", json.dumps(_settings(config, target), indent=1)) as path:
        yield path


def command(
    config: CloudflareConfig,
    target: Target,
    credentials: Credentials,
    config_file: str,
    *,
    protocol: Protocol | None = None,
) -> Command:
    """The call for one attempt; `protocol` instead of the configured one."""
    arguments = [config.program, "tunnel", "--config", config_file]
    # Without it, the fallback from QUIC to HTTP/2 takes 140 s instead of 12. It has no variable.
    arguments += ["--max-edge-addr-retries", "1", *config.extra_args]
    if config.kind != "quick":
        arguments.append("run")
    return Command(arguments, _environment(config, target, credentials, protocol))


def _environment(
    config: CloudflareConfig, target: Target, credentials: Credentials, protocol: Protocol | None
) -> dict[str, str | SecretStr]:
    environment: dict[str, str | SecretStr] = {
        # Without a terminal, cloudflared would replace itself and exit with code 11.
        "NO_AUTOUPDATE": "true",
        # Port 0: any free one. A busy port is noticed only after a quick tunnel has been made.
        "TUNNEL_METRICS": f"127.0.0.1:{config.metrics_port or 0}",
        # For a quick tunnel, "auto" has to be said: without, it is QUIC and no fallback, ever.
        "TUNNEL_TRANSPORT_PROTOCOL": protocol or config.protocol,
        "TUNNEL_EDGE_IP_VERSION": config.edge_ip_version,
        "TUNNEL_GRACE_PERIOD": f"{config.grace_period:g}s",
        "TUNNEL_LOGLEVEL": "info",
    }
    if config.kind != "local":
        # With a token, it counts only until the edge pushes the tunnel's configuration.
        environment["TUNNEL_URL"] = f"http://{target.authority}"
    if credentials.token is not None:
        environment["TUNNEL_TOKEN"] = credentials.token
    return environment


def _settings(config: CloudflareConfig, target: Target) -> dict[str, Any]:
    settings: dict[str, Any] = {"no-autoupdate": True}
    if config.credentials_file is not None:
        settings |= {
            "tunnel": config.tunnel_id,
            "credentials-file": os.path.abspath(expand_home(config.credentials_file)),
            "ingress": [
                {"hostname": config.hostname, "service": f"http://{target.authority}"},
                {"service": "http_status:404"},
            ],
        }
    return settings
