"""The file that frpc reads. It holds the token, so only this user can read it."""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from prx_tunnel_core import Target
from prx_tunnel_core.process import private_file
from prx_tunnel_frp.config import FrpConfig


@dataclass(frozen=True)
class Access:
    """frpc's own web server: on loopback, with a random password for each run."""

    port: int
    user: str = "prx-tunnel"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


@contextmanager
def written(config: FrpConfig, target: Target, name: str, admin: Access) -> Iterator[str]:
    """The path of the file (mode 0600), which is removed when the context is left."""
    with private_file("frpc.toml", render(config, target, name, admin)) as path:
        yield path


def render(config: FrpConfig, target: Target, name: str, admin: Access) -> str:
    """The keys of frpc 0.52 and later, see https://gofrp.org/en/docs/reference/client-configures/"""
    client: dict[str, str | int | bool | list[str]] = {
        "serverAddr": config.server,
        "serverPort": config.server_port,
        "loginFailExit": True,  # core reconnects, with its own delays
        "transport.tls.enable": True,
        "log.to": "console",
        "log.level": "info",
        "log.disablePrintColor": True,
        "webServer.addr": "127.0.0.1",
        "webServer.port": admin.port,
        "webServer.user": admin.user,
        "webServer.password": admin.password,
    }
    if config.token is not None:
        client |= {"auth.method": "token", "auth.token": config.token.get_secret_value()}
    if config.trusted_ca is not None:
        client["transport.tls.trustedCaFile"] = os.path.expanduser(config.trusted_ca)
    proxy: dict[str, str | int | bool | list[str]] = {
        "name": name,
        "type": config.type,
        "localIP": target.host,
        "localPort": target.port,
    }
    if config.type == "http":
        proxy["customDomains"] = [config.domain or ""]
    else:
        proxy["remotePort"] = config.remote_port
    return f"{_lines(client)}\n[[proxies]]\n{_lines(proxy)}"


def _lines(table: Mapping[str, str | int | bool | list[str]]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: str | int | bool | list[str]) -> str:
    """As TOML, whose strings, numbers and lists are written as JSON's.

    frpc expands templates (`{{ .Envs.NAME }}`) in the file first, so braces are escaped.
    """
    return json.dumps(value).replace("\x7f", "\\u007f").replace("{", "\\u007b")
