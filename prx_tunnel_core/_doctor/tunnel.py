"""The local port, the running tunnel, and what killed processes left behind."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from prx_tunnel_core._control import client
from prx_tunnel_core._control.async_client import NoAnswer, NotRunning, ask
from prx_tunnel_core._health.local_port import accepts, strangers
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.errors import TunnelError
from prx_tunnel_core.models import Check
from prx_tunnel_core.process._reaper.orphans import orphans
from prx_tunnel_core.process._reaper.procfs import environment

MANY_DROPS = 6  # reconnects in an hour that are not a coincidence


async def check_local_port(tunnel: TunnelConfig) -> Check:
    where = f"{tunnel.local_host} port {tunnel.local_port}"
    if not await accepts(tunnel.local_host, tunnel.local_port):
        fix = "start your program, or set tunnel.local_port to the port that it listens on"
        return Check("local port", "fail", f"nothing listens on {where}; {fix}")
    foreign = strangers(tunnel.local_host, tunnel.local_port)
    if foreign:
        owner = f"another user (uid {foreign[0]})"
        return Check(
            "local port", "unknown", f"{where} belongs to {owner}; make sure that it is your app"
        )
    return Check("local port", "ok", f"something listens on {where}")


async def check_tunnel(name: str, config: TunnelConfig) -> AsyncIterator[Check]:
    try:
        status = await ask("status", name=name)
        checks = list(_checks(name, status, config))
    except NotRunning:
        yield Check("tunnel", "ok", f"{name!r} is not running")
    except NoAnswer as error:
        yield Check("tunnel", "fail", str(error))
    except TunnelError as error:
        yield Check("control socket", "fail", str(error))
    except (KeyError, TypeError, ValueError, AttributeError):
        reason = f"tunnel {name!r} sent a reply that this version of prx does not understand"
        yield Check("tunnel", "fail", f"{reason}; restart it")
    else:
        for check in checks:
            yield check


def _checks(name: str, status: Mapping[str, Any], config: TunnelConfig) -> Iterator[Check]:
    message = f": {status['message']}" if status["message"] else ""
    yield Check("tunnel", "ok", f"{name!r} is {status['state']} (process {status['pid']}){message}")
    port = (status["info"] or {}).get("local_port", config.local_port)
    if port != config.local_port:
        restart = f"run: prx tunnel stop --name {name}; then start it again"
        detail = f"{name!r} forwards to port {port}, but {config.local_port} is configured"
        yield Check("restart", "fail", f"{detail}; {restart}")
    drops = int(status.get("drops_last_hour", 0))
    if drops >= MANY_DROPS:
        longest = config.reconnect.backoff_max_ms
        fix = f"raise tunnel.reconnect.backoff_max_ms (now {longest})"
        yield Check("reconnects", "fail", f"{drops} in the last hour: unstable network; {fix}")


def check_leftovers() -> Iterator[Check]:
    """Yield nothing for an untrusted runtime directory, which `check_tunnel` reports."""
    try:
        abandoned, in_the_way = client.leftovers()
    except TunnelError:
        return
    for path in in_the_way:
        yield Check("control socket", "fail", f"{path} is not a socket of this user; remove it")
    for name in abandoned:
        detail = f"the process of tunnel {name!r} was killed and left its socket"
        start = f"`prx tunnel start --name {name}` removes it"
        yield Check("leftover", "unknown", f"{detail}; {start}")


def check_orphans() -> Iterator[Check]:
    """Report tunnel programs whose host is dead: they may still expose a local port."""
    if left := sorted(orphans(environment(os.getpid()) or b"")):
        pids = " ".join(map(str, left))
        detail = f"{len(left)} still running after their host was killed together with its guard"
        fix = f"run: kill {pids} (or start a tunnel, whose guard ends them)"
        yield Check("orphans", "fail", f"{detail}; {fix}")
