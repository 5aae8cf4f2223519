"""The tunnel of that name, should it run, and what killed ones have left behind."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from prx_tunnel_core._control import client
from prx_tunnel_core._control.async_client import NoAnswer, NotRunning, ask
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.errors import TunnelError
from prx_tunnel_core.models import Check
from prx_tunnel_core.process._reaper.orphans import leftovers
from prx_tunnel_core.process._reaper.procfs import environment

MANY_DROPS = 6  # reconnects in an hour that are no coincidence


async def look_at_tunnel(name: str, config: TunnelConfig) -> AsyncIterator[Check]:
    try:
        status = await ask("status", name=name)
        checks = list(_tell(name, status, config))
    except NotRunning:
        yield Check("tunnel", "ok", f"{name!r} is not running")
    except NoAnswer as error:
        yield Check("tunnel", "fail", str(error))
    except TunnelError as error:
        yield Check("control socket", "fail", str(error))
    except (KeyError, TypeError, ValueError, AttributeError):
        reason = f"tunnel {name!r} gives an answer that this version of prx does not know"
        yield Check("tunnel", "fail", f"{reason}; restart it")
    else:
        for check in checks:
            yield check


def _tell(name: str, status: Mapping[str, Any], config: TunnelConfig) -> Iterator[Check]:
    message = f": {status['message']}" if status["message"] else ""
    yield Check("tunnel", "ok", f"{name!r} is {status['state']} (process {status['pid']}){message}")
    port = (status["info"] or {}).get("local_port", config.local_port)
    if port != config.local_port:
        restart = f"prx tunnel stop --name {name}, then start it again"
        detail = f"{name!r} leads to port {port}, and is set to {config.local_port}; {restart}"
        yield Check("restart", "fail", detail)
    drops = int(status.get("drops_last_hour", 0))
    if drops >= MANY_DROPS:
        longest = config.reconnect.backoff_max_ms
        fix = f"raise tunnel.reconnect.backoff_max_ms (now {longest})"
        yield Check("reconnects", "fail", f"{drops} in the last hour: unstable network; {fix}")


def look_at_leftovers() -> Iterator[Check]:
    """Of a directory that cannot be trusted, `look_at_tunnel` has told."""
    try:
        abandoned, in_the_way = client.leftovers()
    except TunnelError:
        return
    for path in in_the_way:
        yield Check("control socket", "fail", f"{path} is not a socket of ours; remove it")
    for name in abandoned:
        detail = f"the process of tunnel {name!r} was killed and left its socket"
        start = f"`prx tunnel start --name {name}` removes it"
        yield Check("leftover", "unknown", f"{detail}; {start}")


def look_at_orphans() -> Iterator[Check]:
    """A program whose host is dead may still make a local port public, with nobody to watch it."""
    if left := sorted(leftovers(environment(os.getpid()) or b"")):
        pids = " ".join(map(str, left))
        detail = f"{len(left)} left by a host that was killed together with its guard"
        fix = f"run: kill {pids} (or start a tunnel: its guard ends them)"
        yield Check("orphans", "fail", f"{detail}; {fix}")
