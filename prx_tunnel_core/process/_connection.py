"""A connection that lives as long as a program."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from prx_tunnel_core.backend import Connection
from prx_tunnel_core.models import Check

if TYPE_CHECKING:
    from prx_tunnel_core.process._process import TunnelProcess


class ProcessConnection(Connection):
    def __init__(
        self,
        process: TunnelProcess,
        public_url: str,
        details: Mapping[str, str],
    ) -> None:
        self._process = process
        self.public_url = public_url
        self.details = details

    def has_ended(self) -> bool:
        return self._process.has_ended()

    async def wait_closed(self) -> str:
        await self._process.wait()
        return self._process.exit_reason()


class CheckedProcessConnection(ProcessConnection):
    """One whose backend also looks at it."""

    def __init__(
        self,
        process: TunnelProcess,
        public_url: str,
        details: Mapping[str, str],
        check: Callable[[], Awaitable[Iterable[Check]]],
    ) -> None:
        super().__init__(process, public_url, details)
        self._check = check

    async def check(self) -> Iterable[Check]:
        return await self._check()
