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

ANNOUNCED = 5.0  # seconds; should the announcement be worded anew, we look all the same
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
    with anyio.move_on_after(ANNOUNCED):
        try:
            await process.first_match(lambda line: announces(line) or None)
        except ProgramExited as ended:
            raise explain(ended) from None
    with anyio.move_on_after(CONFIRMED):
        while process.returncode is None:
            session = (await tailscale.serve_config()).session_of(route)
            if session is not None:
                return session
            await anyio.sleep(LOOK_AGAIN)
        raise await _why_it_ended(process)
    raise ConnectError(
        f"tailscale runs but tailscaled does not list the route {route.url}; it says: "
        f"{process.last_lines() or 'nothing'}"
    )


async def _why_it_ended(process: TunnelProcess) -> TunnelError:
    code = await process.wait()
    return explain(ProgramExited(process.exit_reason(), returncode=code, tail=tuple(process.tail)))


def _holds(route: Route, session: str, served: ServeConfig) -> bool:
    return served.session_of(route) == session
