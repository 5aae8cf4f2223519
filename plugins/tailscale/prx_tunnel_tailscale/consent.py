"""The link where an admin enables a missing feature: only the running program gets it.

When the tailnet has not enabled HTTPS or Funnel, `tailscale` asks the coordination server, prints
its answer, and then either waits for the consent or exits, with code 0. The text is the server's;
the link is on a separate line.
"""

from __future__ import annotations

import re
from dataclasses import replace

import anyio

from prx_tunnel_core import ProgramExited, TunnelError, UrlRule, open_process
from prx_tunnel_core.programs import time_left
from prx_tunnel_tailscale import reasons
from prx_tunnel_tailscale.program import STOP_GRACE, STOP_SIGNALS, Tailscale, announces
from prx_tunnel_tailscale.reasons import Problem, explain, find_problem
from prx_tunnel_tailscale.route import Route

PATIENCE = 10.0  # seconds for the coordination server's answer
_LINK = UrlRule(hosts=("tailscale.com",), path=True)
_QUERY = re.compile(r"[A-Za-z0-9_.~=&-]{0,200}")


async def ask_for_consent(tailscale: Tailscale, route: Route, lacking: Problem) -> TunnelError:
    """The error to raise: with the link when one is offered.

    The route is asked for in the foreground, so that nothing stays should it be granted meanwhile.
    """
    async with open_process(
        tailscale.command(*route.foreground),
        env=tailscale.environment,
        grace=STOP_GRACE,
        stop_signals=STOP_SIGNALS,
    ) as process:
        try:
            with anyio.move_on_after(time_left(PATIENCE)):
                said = await process.first_match(_link_or_grant)
                return _offered(lacking, said) if said else reasons.ENABLED_NOW.error()
        except ProgramExited as ended:
            return explain(ended) if find_problem(ended.tail) else lacking.error()
    return lacking.error()


def consent_link(line: str) -> str | None:
    """The link, when the line is nothing else and the link leads to Tailscale itself."""
    text = line.strip()
    address, _, query = text.partition("?")
    try:
        _LINK.accept(address)
    except ValueError:
        return None
    return text if _QUERY.fullmatch(query) else None


def _link_or_grant(line: str) -> str | None:
    return "" if announces(line) else consent_link(line)


def _offered(lacking: Problem, link: str) -> TunnelError:
    fix = f"an admin of the tailnet enables it at {link} ; then start the tunnel again"
    return replace(lacking, fix=fix).error()
