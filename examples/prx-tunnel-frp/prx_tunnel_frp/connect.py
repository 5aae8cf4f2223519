"""Open the tunnel: write frpc's file, run frpc, wait until frps has accepted the proxy."""

import re
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from prx_tunnel_core import ConnectError, Connection, SetupError, Target, open_process
from prx_tunnel_frp.admin import Admin, Proxy, open_admin
from prx_tunnel_frp.config import INSTALL_HINT, FrpConfig
from prx_tunnel_frp.connection import FrpConnection
from prx_tunnel_frp.frpc_file import Access, written

_REFUSED = re.compile(r"\[[\w-]+\] start error: (.*)")
_BAD_TOKEN = "token in login doesn't match"


@asynccontextmanager
async def connect(config: FrpConfig, target: Target) -> AsyncIterator[Connection]:
    name = f"prx-tunnel-{secrets.token_hex(6)}"  # frps accepts each name once
    access = Access(_free_port())
    hidden = [access.password, *([config.token.get_secret_value()] if config.token else [])]
    with written(config, target, name, access) as path:
        command = [config.program, "-c", path]
        async with (
            open_process(command, secrets=hidden, program_hint=INSTALL_HINT) as process,
            open_admin(access) as admin,
        ):
            await process.first_match(_started)
            yield FrpConnection(config, process, admin, name, await _accepted(admin, name))


def _started(line: str) -> bool | None:
    if "start proxy success" in line:
        return True
    if refused := _REFUSED.search(line):
        raise ConnectError(f"frps refused the tunnel: {refused[1]}")
    if _BAD_TOKEN in line:
        raise SetupError("frps refused the token; set tunnel.frp.token to frps' auth.token")
    return None


async def _accepted(admin: Admin, name: str) -> Proxy:
    try:
        proxy = await admin.proxy(name)
    except httpx.HTTPError as error:
        raise ConnectError(f"frpc's web server does not answer: {error!r}") from None
    if proxy is None:
        raise ConnectError("frpc lost its session with frps right after the start")
    return proxy


def _free_port() -> int:
    """For frpc's web server; if another program takes it meanwhile, frpc fails and core retries."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
