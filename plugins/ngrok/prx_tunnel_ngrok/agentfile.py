"""The files that the agent reads: the user's own configuration, ours after it, and the policy.

The agent merges the files of `--config` in their order, the later one wins. Naming any makes it
ignore its default one, so that one is named too.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pydantic import SecretStr

from prx_tunnel_core import trust
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.expansion import expand_home
from prx_tunnel_core.process import private_folder, write_private
from prx_tunnel_ngrok.config import NgrokConfig
from prx_tunnel_ngrok.policy import Policy

LOOPBACK = "127.0.0.1"
# Below those that systems hand out by themselves, to whoever connects to somewhere meanwhile.
PORTS = range(15_000, 32_768)
LARGEST_FILE = 1 << 20  # characters that are looked at

# Found by pattern, not by parsing: a file that is no valid YAML still holds its token.
_SECRETS = re.compile(r"\b(?:authtoken|api_key)[\"']?\s*:\s*[\"']?([^\s\"'#,}]+)")
_VERSION = re.compile(r"^version\s*:\s*[\"']?(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class UsersFile:
    """ngrok's own configuration file, as the user wrote it."""

    path: str
    version: int | None
    secrets: tuple[SecretStr, ...]


def users_file(config: NgrokConfig) -> UsersFile | None:
    """The user's file: the one that `config_file` names, else the default one when it exists.

    Raises ConfigError when the named one cannot be read.
    """
    if config.config_file is not None:
        path = expand_home(config.config_file, "tunnel.ngrok.config_file")
    else:
        path = default_path()
        if not (os.path.isabs(path) and os.path.isfile(path)):
            return None
    text = _read(path)
    version = _VERSION.search(text)
    return UsersFile(
        path=os.path.abspath(path),
        version=int(version[1]) if version else None,
        secrets=tuple(map(SecretStr, _SECRETS.findall(text))),
    )


def _read(path: str) -> str:
    where = f"ngrok's configuration file {path} (tunnel.ngrok.config_file)"
    try:
        with open(trust.open_file(path), encoding="utf-8", errors="replace") as file:
            return file.read(LARGEST_FILE)
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror}") from None


def default_path() -> str:
    """Where the agent looks for it: https://ngrok.com/docs/agent/config/.

    Without a home directory, the path begins with `~` and leads nowhere.
    """
    home = os.path.expanduser("~")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Application Support", "ngrok", "ngrok.yml")
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    return os.path.join(base, "ngrok", "ngrok.yml")


@dataclass(frozen=True, slots=True)
class AgentFiles:
    """What goes into the agent's arguments."""

    config: str
    """The value of `--config`."""
    policy: str | None
    web_addr: str | None
    """`host:port` of the local page that we asked for."""


@contextmanager
def written(
    config: NgrokConfig, users: UsersFile | None, policy: Policy | None
) -> Iterator[AgentFiles]:
    """Our configuration and policy as files that only this user can read, while they are needed."""
    with private_folder() as folder:
        web_addr = _web_addr(config)
        ours = write_private(folder, "ngrok.yml", own_configuration(users, web_addr))
        policy_path = None
        if policy is not None:
            policy_path = write_private(folder, "policy.json", policy.as_json())
        paths = ([] if users is None else [users.path]) + [ours]
        yield AgentFiles(_joined(paths), policy_path, web_addr)


def own_configuration(users: UsersFile | None, web_addr: str | None) -> str:
    """Our few settings in the format of the user's file, for the two are merged.

    The port is explicit: with `:0` the agent does not tell which it got.
    """
    settings = {
        "web_addr": json.dumps(web_addr or False),
        "console_ui": "false",
        "update_check": "false",
    }
    if users is not None and users.version == 2:
        lines = ['version: "2"', *(f"{key}: {value}" for key, value in settings.items())]
    else:
        lines = ["version: 3", "agent:", *(f"  {key}: {value}" for key, value in settings.items())]
    return "\n".join(lines) + "\n"


def _web_addr(config: NgrokConfig) -> str | None:
    if not config.inspector:
        return None
    return f"{LOOPBACK}:{config.inspector_port or _free_port()}"


def _free_port() -> int:
    """A port that is free now; should another take it first, the next attempt finds another."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as listener, suppress(OSError):
            listener.bind((LOOPBACK, port))
            return port


def _joined(paths: list[str]) -> str:
    if any("," in path for path in paths):
        raise ConfigError(
            "tunnel.ngrok.config_file: the path has a comma, which separates files for ngrok"
        )
    return ",".join(paths)
