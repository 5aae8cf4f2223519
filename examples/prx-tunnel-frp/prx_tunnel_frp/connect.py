"""Open the tunnel: write the file, run frpc, wait until frps has taken the proxy."""

import re
import secrets
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import httpx

from prx_tunnel_core import (
    Check,
    ConnectError,
    Connection,
    ProgramExited,
    SetupError,
    Target,
    TunnelProcess,
    open_process,
)
from prx_tunnel_core.urls import normalise
from prx_tunnel_frp.admin import Admin, Proxy, open_admin
from prx_tunnel_frp.config import FrpConfig
from prx_tunnel_frp.frpc_file import Access, written

INSTALL_HINT = "get frpc from https://github.com/fatedier/frp/releases"

_REFUSED = re.compile(r"\[[\w-]+\] start error: (.*)")
_BAD_TOKEN = "token in login doesn't match"
# Only once it had a session, frpc has a run id, which it then writes before this.
_LOST = re.compile(r"\[[0-9a-f]{16}\] try to connect to server")


@asynccontextmanager
async def connect(config: FrpConfig, target: Target) -> AsyncIterator[Connection]:
    name = f"prx-tunnel-{secrets.token_hex(6)}"  # frps wants each name once
    access = Access(_free_port())
    hidden = [access.password, *([config.token.get_secret_value()] if config.token else [])]
    with written(config, target, name, access) as path:
        command = [config.program, "-c", path]
        async with (
            open_process(command, secrets=hidden, program_hint=INSTALL_HINT) as process,
            open_admin(access) as admin,
        ):
            await process.first_match(_started)
            yield FrpConnection(config, process, admin, name, await _taken(admin, name))


class FrpConnection(Connection):
    def __init__(
        self, config: FrpConfig, process: TunnelProcess, admin: Admin, name: str, proxy: Proxy
    ) -> None:
        self.public_url = _url(config, proxy)
        self.details = {"server": f"{config.server}:{config.server_port}", "proxy": name}
        self._process = process
        self._admin = admin
        self._name = name

    async def wait_closed(self) -> str:
        """frpc would try for ever by itself; whether and when is core's to say."""
        try:
            return await self._process.first_match(_lost)
        except ProgramExited as error:
            return str(error)

    async def check(self) -> Iterable[Check]:
        try:
            proxy = await self._admin.proxy(self._name)
        except httpx.HTTPError as error:
            return [Check("frpc", "fail", f"it does not answer ({type(error).__name__})")]
        if proxy is None:
            return [Check("frps", "fail", "frpc has no session with frps")]
        if proxy.status != "running":
            return [Check("frps", "fail", f"{proxy.status} {proxy.error}".strip())]
        return [Check("frps", "ok", proxy.address)]

    async def abort(self) -> bool:
        self._process.kill()
        return True


def _started(line: str) -> bool | None:
    if "start proxy success" in line:
        return True
    if refused := _REFUSED.search(line):
        raise ConnectError(f"frps refused the tunnel: {refused[1]}")
    if _BAD_TOKEN in line:
        raise SetupError("frps refused the token; set tunnel.frp.token to frps' auth.token")
    return None


def _lost(line: str) -> str | None:
    return "frpc has lost its session with frps" if _LOST.search(line) else None


async def _taken(admin: Admin, name: str) -> Proxy:
    try:
        proxy = await admin.proxy(name)
    except httpx.HTTPError as error:
        raise ConnectError(f"frpc's web server does not answer: {error!r}") from None
    if proxy is None:
        raise ConnectError("frpc lost its session with frps at once")
    return proxy


def _url(config: FrpConfig, proxy: Proxy) -> str:
    if config.type == "http":
        port = proxy.address.rpartition(":")[2]
        return normalise(
            f"https://{config.domain}" if config.https else f"http://{config.domain}:{port}"
        )
    port = proxy.address.rpartition(":")[2]
    host = f"[{config.server}]" if ":" in config.server else config.server
    return normalise(f"http://{host}:{port}")


def _free_port() -> int:
    """For frpc's web server; should another take it meanwhile, frpc says so and core tries again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
