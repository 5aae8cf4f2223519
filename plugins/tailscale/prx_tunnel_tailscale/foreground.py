"""A route that lives as long as one `tailscale` program: the default.

It cannot replace anything of the user's, is never stored, and is gone at once when the program
ends, for whatever reason (also SIGKILL).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import anyio

from prx_tunnel_core import (
    ConnectError,
    Connection,
    ProgramExited,
    TunnelError,
    TunnelProcess,
    open_process,
)
from prx_tunnel_core.programs import time_left, while_running
from prx_tunnel_tailscale.connection import check_route
from prx_tunnel_tailscale.program import (
    STOP_GRACE,
    STOP_SIGNALS,
    TRIES,
    Tailscale,
    announces,
    pause,
)
from prx_tunnel_tailscale.reasons import EditRace, explain
from prx_tunnel_tailscale.route import Route
from prx_tunnel_tailscale.serveconfig import ServeConfig

ANNOUNCED = 5.0  # seconds; then the route is looked for even if the wording has changed
CONFIRMED = 10.0  # seconds
LOOK_AGAIN = 0.1


@asynccontextmanager
async def in_foreground(
    tailscale: Tailscale, route: Route, details: Mapping[str, str]
) -> AsyncIterator[Connection]:
    for number in range(1, TRIES + 1):
        async with open_process(
            tailscale.command(*route.foreground),
            env=tailscale.environment,
            grace=STOP_GRACE,
            stop_signals=STOP_SIGNALS,
        ) as process:
            try:
                session = await confirmed(tailscale, route, process)
            except EditRace:
                if number == TRIES:
                    raise
            else:
                check = partial(check_route, tailscale, route, partial(_holds, route, session))
                yield process.connection(route.url, details=details, check=check)
                return
        await pause(number)


async def confirmed(tailscale: Tailscale, route: Route, process: TunnelProcess) -> str:
    """The id of our session, once tailscaled has it; raises why it does not come.

    Neither an exit code nor a line is proof: the program exits with 0 where Funnel is not enabled.
    """
    with anyio.move_on_after(time_left(ANNOUNCED)):
        try:
            await process.first_match(lambda line: announces(line) or None)
        except ProgramExited as ended:
            raise explain(ended) from None
    session = await while_running(process, partial(_session, tailscale, route))
    if session is None:
        raise await _why_it_ended(process)
    if session:
        return session
    raise ConnectError(
        f"tailscale runs but tailscaled does not list the route {route.url}; it says: "
        f"{process.last_lines() or 'nothing'}"
    )


async def _session(tailscale: Tailscale, route: Route) -> str:
    """The id of our session; empty when it has not come in time."""
    until = anyio.current_time() + time_left(CONFIRMED)
    while (session := (await tailscale.serve_config()).session_of(route)) is None:
        if anyio.current_time() >= until:
            return ""
        await anyio.sleep(LOOK_AGAIN)
    return session


async def _why_it_ended(process: TunnelProcess) -> TunnelError:
    code = await process.wait()
    return explain(ProgramExited(process.exit_reason(), returncode=code, tail=tuple(process.tail)))


def _holds(route: Route, session: str, served: ServeConfig) -> bool:
    return served.session_of(route) == session
