"""What `prx tunnel doctor` can find out without opening a tunnel."""

from __future__ import annotations

from datetime import UTC, datetime

from prx_tunnel_core import Check, TunnelError
from prx_tunnel_tailscale.config import TailscaleConfig
from prx_tunnel_tailscale.connection import check_control, check_key, check_network
from prx_tunnel_tailscale.node import Node
from prx_tunnel_tailscale.preflight import check_node, check_port, lacks, settled
from prx_tunnel_tailscale.program import Tailscale
from prx_tunnel_tailscale.serveconfig import ServeConfig

# Seconds; `prx tunnel doctor` gives ten to the whole diagnosis.
PATIENCE = 4.0  # for each command
SETTLE = 5.0  # for a tailscaled that starts


async def diagnose(config: TailscaleConfig) -> list[Check]:
    """Each step that a start would take, up to the first that fails."""
    checks: list[Check] = []
    step = "program"
    try:
        tailscale = Tailscale.of(config, patience=PATIENCE)
        checks.append(Check(step, "ok", f"{tailscale.program} {await tailscale.version()}"))
        step = "node"
        node = await settled(tailscale, patience=SETTLE)
        check_node(node)
        checks.append(Check(step, "ok", f"{node.dns_name}, running"))
        checks += [check_control(node), *check_network(node), *check_key(node, datetime.now(UTC))]
        step = "permission"
        checks.append(_permission(node, config))
        step = "port"
        checks.append(_port(await tailscale.serve_config(), config.funnel_port))
    except TunnelError as error:
        checks.append(Check(step, "fail", str(error)))
    return checks


def _permission(node: Node, config: TailscaleConfig) -> Check:
    public = config.mode == "funnel"
    lacking = lacks(node, public=public)
    if lacking is not None:
        raise lacking.error("`prx tunnel start` shows the link where an admin enables it")
    check_port(node, config.funnel_port, public=public)
    return Check("permission", "ok", f"{config.mode} is allowed on port {config.funnel_port}")


def _port(served: ServeConfig, port: int) -> Check:
    taken = served.handlers(port)
    if taken:
        # It may be a tunnel of ours that runs right now: a start knows, a diagnosis does not.
        return Check("port", "unknown", f"port {port} already serves {'; '.join(taken[:5])}")
    return Check("port", "ok", f"port {port} is free")
