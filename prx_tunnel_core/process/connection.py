"""A connection that lives as long as a program."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from prx_tunnel_core.backend import Connection
from prx_tunnel_core.models import Check

if TYPE_CHECKING:
    from prx_tunnel_core.process.running import TunnelProcess


class ProcessConnection(Connection):
    def __init__(
        self,
        process: TunnelProcess,
        public_url: str,
        details: Mapping[str, str],
        check: Callable[[], Awaitable[Iterable[Check]]] | None,
    ) -> None:
        self._process = process
        self.public_url = public_url
        self.details = details
        self._check = check

    async def wait_closed(self) -> str:
        await self._process.wait()
        return self._process.exit_reason()

    async def check(self) -> Iterable[Check]:
        return () if self._check is None else await self._check()
