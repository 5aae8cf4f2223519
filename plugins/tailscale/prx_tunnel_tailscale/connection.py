"""The state of an open route, according to tailscaled.

A running process proves nothing here: it keeps running when the node is stopped, its key has
expired or an admin has removed the permission, and tailscaled still lists the route.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

import anyio

from prx_tunnel_core import Check, Connection, TunnelError
from prx_tunnel_tailscale import capability
from prx_tunnel_tailscale.node import RUNNING, SETTLING, Node
from prx_tunnel_tailscale.program import Tailscale
from prx_tunnel_tailscale.reasons import Unreadable
from prx_tunnel_tailscale.route import Route
from prx_tunnel_tailscale.serveconfig import ServeConfig

DAEMON = "tailscaled"
CONTROL = "control"
PERMISSION = "permission"
ROUTE = "route"
NETWORK = "network"
KEY = "key"

PATIENCE = 7.0  # seconds; core waits for ten, and could then only report `unknown`

SOON = timedelta(days=7)
"""How long before it expires a key is reported."""

# Of tailscaled's warnings, those that concern the way in (health/warnings.go); others tell of
# updates and of routes of other nodes.
_NO_WAY_IN = ("relay server", "network is down", "derp")
_NO_NEWS = ("coordination server",)


class KeptRoute(Connection):
    def __init__(self, tailscale: Tailscale, route: Route, details: Mapping[str, str]) -> None:
        self.public_url = route.url
        self.details = details
        self._tailscale = tailscale
        self._route = route
        self._gone = anyio.Event()

    async def wait_closed(self) -> str:
        """No program ends with such a route: a check finds that it is gone."""
        await self._gone.wait()
        return "the route was removed or changed in tailscaled"

    async def check(self) -> Iterable[Check]:
        checks = await check_route(self._tailscale, self._route, self._holds)
        if any(check.name == ROUTE and check.verdict == "fail" for check in checks):
            self._gone.set()
        return checks

    def _holds(self, served: ServeConfig) -> bool:
        return served.in_background(self._route)


async def check_route(
    tailscale: Tailscale, route: Route, holds: Callable[[ServeConfig], bool]
) -> list[Check]:
    """Ask tailscaled about the node and the route; `holds` looks for the route. Never raises."""
    with anyio.move_on_after(PATIENCE):
        try:
            node = await tailscale.node()
            served = await tailscale.serve_config()
        except Unreadable as error:
            return [Check(DAEMON, "unknown", str(error))]
        except TunnelError as error:
            return [Check(DAEMON, "fail", str(error))]
        return judge(node, served, route, holds)
    return [Check(DAEMON, "fail", f"tailscaled did not answer within {PATIENCE:.0f} s")]


def judge(
    node: Node, served: ServeConfig, route: Route, holds: Callable[[ServeConfig], bool]
) -> list[Check]:
    checks = [check_state(node), check_control(node), check_permission(node, route)]
    checks.append(check_entry(served, route, holds))
    return [*checks, *check_network(node), *check_key(node, datetime.now(UTC))]


def check_state(node: Node) -> Check:
    if node.state == RUNNING:
        return Check(DAEMON, "ok", "running")
    if node.state in SETTLING:
        return Check(DAEMON, "unknown", "tailscaled is starting")
    return Check(DAEMON, "fail", f"the node is in the state {node.state}; run: tailscale up")


def check_control(node: Node) -> Check:
    """Whether changes of the tailnet arrive, which is seen minutes before tailscaled warns of it.

    Visitors come through the relay: while that is connected the tunnel may well work, and
    reconnecting would only interrupt them. Without both, the node is cut off.
    """
    if node.online:
        return Check(CONTROL, "ok", "connected to the coordination server")
    lost = "no connection to the coordination server"
    if _warnings(node, _NO_WAY_IN):
        return Check(CONTROL, "fail", f"{lost}, nor to a relay: the node is cut off")
    return Check(CONTROL, "unknown", f"{lost}; tailscaled is reconnecting")


def check_permission(node: Node, route: Route) -> Check:
    missing = capability.missing(node.capabilities, public=route.public)
    if missing is not None:
        return Check(PERMISSION, "fail", f"the tailnet has removed the permission {missing!r}")
    if route.public and route.port not in capability.funnel_ports(node.capabilities):
        return Check(PERMISSION, "fail", f"the tailnet no longer allows Funnel on {route.port}")
    return Check(PERMISSION, "ok", f"{route.subcommand} is allowed on port {route.port}")


def check_entry(served: ServeConfig, route: Route, holds: Callable[[ServeConfig], bool]) -> Check:
    if holds(served):
        return Check(ROUTE, "ok", f"{route.host_port}{route.mount} -> {route.target}")
    if not route.public and served.public(route.host_port):
        return Check(ROUTE, "fail", f"port {route.port} was made PUBLIC: Funnel is on")
    return Check(ROUTE, "fail", f"tailscaled no longer has the route {route.url}")


def check_network(node: Node) -> list[Check]:
    """Unknown, not failed: tailscaled looks for another way; reconnecting would not help."""
    return [Check(NETWORK, "unknown", each) for each in _warnings(node, _NO_WAY_IN + _NO_NEWS)]


def _warnings(node: Node, about: tuple[str, ...]) -> list[str]:
    return [each for each in node.warnings if any(phrase in each.lower() for phrase in about)]


def check_key(node: Node, now: datetime) -> list[Check]:
    left = node.key_left(now)
    if left is None or left > SOON:
        return []
    advice = "run: sudo tailscale up --force-reauth, or disable key expiry for this machine"
    if left <= timedelta(0):
        return [
            Check(KEY, "fail", f"the node's key expired on {node.key_expiry:%Y-%m-%d}; {advice}")
        ]
    return [Check(KEY, "ok", f"the node's key expires on {node.key_expiry:%Y-%m-%d}; {advice}")]
