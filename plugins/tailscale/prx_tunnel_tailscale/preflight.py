"""Whether the node is ready for the route; checked before anything is changed."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio

from prx_tunnel_core import ConnectError, Target
from prx_tunnel_core.programs import time_left
from prx_tunnel_tailscale import capability, reasons
from prx_tunnel_tailscale.config import TailscaleConfig
from prx_tunnel_tailscale.consent import ask_for_consent
from prx_tunnel_tailscale.node import RUNNING, SETTLING, Node
from prx_tunnel_tailscale.program import Tailscale
from prx_tunnel_tailscale.reasons import Problem
from prx_tunnel_tailscale.route import Route, route_for
from prx_tunnel_tailscale.serveconfig import ServeConfig

SETTLE = 10.0  # seconds that tailscaled may take to start
LEAVE = 2.0  # seconds that a foreground session may take to be forgotten
LOOK_AGAIN = 0.25

_STATES: dict[str, Problem] = {
    "NeedsLogin": reasons.LOGGED_OUT,
    "NeedsMachineAuth": reasons.NEEDS_APPROVAL,
    "Stopped": reasons.STOPPED,
    "InUseOtherUser": reasons.OTHER_USER,
}


async def prepare(
    tailscale: Tailscale, config: TailscaleConfig, target: Target
) -> tuple[Node, Route]:
    """The node and its route; raises TunnelError with the problem when the node is not ready."""
    await tailscale.version()
    node = await settled(tailscale, patience=SETTLE)
    check_node(node)
    route = route_for(config, target, node.dns_name)
    lacking = lacks(node, public=route.public)
    if lacking is not None:
        raise await ask_for_consent(tailscale, route, lacking)
    check_port(node, route.port, public=route.public)
    await wait_until_free(tailscale, route, background=config.background)
    return node, route


async def settled(tailscale: Tailscale, *, patience: float) -> Node:
    """The node, once its state is not a passing one."""
    until = anyio.current_time() + time_left(patience)
    while (node := await tailscale.node()).state in SETTLING:
        if anyio.current_time() >= until:
            raise reasons.SETTLING.error()
        await anyio.sleep(LOOK_AGAIN)
    return node


def check_node(node: Node) -> None:
    """Raise the problem that prevents any route on this node."""
    if node.version is not None and node.version < reasons.MINIMUM:
        raise reasons.TOO_OLD.error(f"tailscaled is {node.version}")
    if node.state != RUNNING:
        raise _not_running(node)
    if not node.dns_name:
        raise reasons.NO_NAME.error()


def _not_running(node: Node) -> Exception:
    problem = _STATES.get(node.state)
    if problem is None:
        return ConnectError(
            f"tailscaled is in the state {node.state[:40]!r}; see: tailscale status"
        )
    left = node.key_left(datetime.now(UTC))
    if problem is reasons.LOGGED_OUT and left is not None and left.total_seconds() <= 0:
        return reasons.KEY_EXPIRED.error(f"on {node.key_expiry:%Y-%m-%d}")
    return problem.error(f"or log in at {node.login_url}" if node.login_url else "")


def lacks(node: Node, *, public: bool) -> Problem | None:
    """The feature that the tailnet has not enabled for this node."""
    missing = capability.missing(node.capabilities, public=public)
    if missing is None:
        return None
    return reasons.HTTPS_OFF if missing == capability.HTTPS else reasons.FUNNEL_OFF


def check_port(node: Node, port: int, *, public: bool) -> None:
    """Compare with the node's own list: the program also announces ports that cannot be reached."""
    allowed = capability.funnel_ports(node.capabilities)
    if public and port not in allowed:
        raise reasons.PORT_NOT_ALLOWED.error(f"{port}; allowed: {allowed}")


async def wait_until_free(tailscale: Tailscale, route: Route, *, background: bool) -> None:
    """Raise when the port is in use; wait for a session of ours that has just ended."""
    served = await tailscale.serve_config()
    until = anyio.current_time() + time_left(LEAVE)
    while served.foreground_handlers(route.port) and anyio.current_time() < until:
        await anyio.sleep(LOOK_AGAIN)
        served = await tailscale.serve_config()
    check_free(served, route, background=background)


def check_free(served: ServeConfig, route: Route, *, background: bool) -> None:
    # A route of ours that tailscaled keeps is taken over, but only by what keeps routes there.
    taken = served.strangers(route) if background else served.handlers(route.port)
    if taken:
        raise reasons.PORT_TAKEN.error(f"{route.port}: {'; '.join(taken[:5])}")
    if not route.public and not background and served.public(route.host_port):
        raise reasons.STALE_FUNNEL.error(f"port {route.port}")
