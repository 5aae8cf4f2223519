"""An open tunnel: frpc runs and has a session with frps."""

import re
from collections.abc import Iterable

import httpx

from prx_tunnel_core import Check, Connection, ProgramExited, TunnelProcess
from prx_tunnel_core.urls import normalise
from prx_tunnel_frp.admin import Admin, Proxy
from prx_tunnel_frp.config import FrpConfig

# frpc has a run id, which it then writes before this, only once it had a session.
_LOST = re.compile(r"\[[0-9a-f]{16}\] try to connect to server")


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
        """Ends at the first loss: frpc would reconnect for ever, and core decides on retries."""
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


def _lost(line: str) -> str | None:
    return "frpc has lost its session with frps" if _LOST.search(line) else None


def _url(config: FrpConfig, proxy: Proxy) -> str:
    if config.type == "http":
        port = proxy.address.rpartition(":")[2]
        return normalise(
            f"https://{config.domain}" if config.https else f"http://{config.domain}:{port}"
        )
    port = proxy.address.rpartition(":")[2]
    host = f"[{config.server}]" if ":" in config.server else config.server
    return normalise(f"http://{host}:{port}")
