"""A route that tailscaled stores: it outlives the program, so it has to be removed.

Funnel is switched on per port, not per path: on a port in use, our route would make the others
public, or replace them. So such a port is refused, and only our own mount is removed.
"""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio

from prx_tunnel_core import ConnectError, Connection, TunnelError
from prx_tunnel_core.logs import get_logger
from prx_tunnel_tailscale.connection import KeptRoute
from prx_tunnel_tailscale.preflight import check_free
from prx_tunnel_tailscale.program import TRIES, Tailscale, pause
from prx_tunnel_tailscale.reasons import GONE, EditRace
from prx_tunnel_tailscale.route import Route

logger = get_logger(__name__)

REMOVAL = 10.0  # seconds


@asynccontextmanager
async def in_background(
    tailscale: Tailscale, route: Route, details: Mapping[str, str]
) -> AsyncIterator[Connection]:
    # Raises when the port is anybody else's; from here on, what stands at our place is ours.
    kept = await _kept(tailscale, route)
    try:
        if not kept:
            await switch_on(tailscale, route)
        yield KeptRoute(tailscale, route, details)
    finally:
        with anyio.CancelScope(shield=True):
            await remove(tailscale, route)


async def switch_on(tailscale: Tailscale, route: Route) -> None:
    """Have tailscaled keep the route."""
    failure = ConnectError(
        f"tailscaled does not keep the route {route.url}, though it was asked to"
    )
    for number in range(1, TRIES + 1):
        try:
            await _run(tailscale, *route.background)
        except EditRace as race:
            failure = race
            await pause(number)
        if await _kept(tailscale, route):
            return
    raise failure


async def _kept(tailscale: Tailscale, route: Route) -> bool:
    """Whether tailscaled has the route; raises when the port is used by others."""
    served = await tailscale.serve_config()
    check_free(served, route, background=True)
    return served.in_background(route)


async def remove(tailscale: Tailscale, route: Route) -> None:
    """Remove our mount, and nothing else; log when that failed."""
    reason = "tailscaled did not answer in time"
    with anyio.move_on_after(REMOVAL):
        try:
            await _remove(tailscale, route)
        except TunnelError as error:
            reason = str(error)
        else:
            return
    by_hand = shlex.join(["tailscale", *tailscale.command(*route.removal())[1:]])
    logger.error("%s is still kept by tailscaled; remove it: %s (%s)", route.url, by_hand, reason)


async def _remove(tailscale: Tailscale, route: Route) -> None:
    # `funnel … off` fails once the admin has taken the permission away; `serve … off` never asks.
    ways = [route.subcommand, "serve"]
    failure: TunnelError = ConnectError("it is still there")
    for number in range(1, TRIES + 1):
        if not (await tailscale.serve_config()).serves(route):
            return
        try:
            await _run(tailscale, *route.removal(ways[0]))
        except EditRace:
            await pause(number)
        except TunnelError as error:
            if GONE in str(error):
                return
            failure, ways = error, ways[1:] or ways
    raise failure


async def _run(tailscale: Tailscale, *arguments: str) -> None:
    answer = await tailscale.run(*arguments)
    if answer.returncode != 0:
        raise tailscale.failure(answer)
