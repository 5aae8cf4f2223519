"""Tunnels of other processes, which may lead to the port of this host as well.

They are looked for in the runtime directory, in the background, and kept where `visitors` looks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import NoReturn

import anyio
import anyio.to_thread

from prx_tunnel_core._control import client
from prx_tunnel_core._control.async_client import NotRunning, ask
from prx_tunnel_core._supervisor.broadcast import StatusBroadcast
from prx_tunnel_core.errors import TunnelError, unwrap_group
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Idle, status_from_json

logger = get_logger("prx_tunnel_core")

POLL = 0.5  # seconds between two looks


@asynccontextmanager
async def neighbours_known(own: str) -> AsyncIterator[None]:
    """Look for them while the body runs."""
    with unwrap_group():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Neighbours(own).watch)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()


class Neighbours:
    """Every tunnel of this user that has another name than `own`."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._known: dict[str, StatusBroadcast] = {}

    async def watch(self) -> NoReturn:
        try:
            while True:
                await self.look()
                await anyio.sleep(POLL)
        finally:
            self._keep(())

    async def look(self) -> None:
        try:
            names = await anyio.to_thread.run_sync(client.running, abandon_on_cancel=True)
        except TunnelError as error:
            logger.debug("tunnels of other processes are not known: %s", error)
            return
        names = [name for name in names if name != self._own]
        self._keep(names)
        for name in names:
            await self._ask(name)

    async def _ask(self, name: str) -> None:
        try:
            status = status_from_json(await ask("status", name=name))
        except NotRunning:
            self._keep([each for each in self._known if each != name])
        except (TunnelError, KeyError, TypeError, ValueError) as error:
            # Suspended, or of another version: what is known of it still holds.
            logger.debug("tunnel %s of another process gives no answer: %s", name, error)
        else:
            self._known.setdefault(name, StatusBroadcast(Idle())).put(status)

    def _keep(self, names: Collection[str]) -> None:
        for name in self._known.keys() - set(names):
            self._known.pop(name).close()
