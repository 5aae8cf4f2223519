"""The backend `tailscale`: a node's Funnel (public) or Serve (its tailnet only).

config       [tunnel.tailscale]
connect      prepares the node, opens the route
connection   what tailscaled says of a route that is up
diagnose     for `prx tunnel doctor`
preflight    whether the node is ready for the route; `consent` asks for what is not enabled
foreground   a route that lives as long as one `tailscale` program
background   a route that tailscaled keeps
program      the `tailscale` program and its short commands
node         `tailscale status --json`
serveconfig  `tailscale funnel status --json`
capability   what the tailnet's policy allows the node
route        what is asked of the node
reasons      everything that can be wrong, with the fix
"""

from __future__ import annotations

from collections.abc import Iterable

from prx_tunnel_core import AnyBackend, Backend, hookimpl


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    from prx_tunnel_tailscale.config import EXAMPLE, TailscaleConfig
    from prx_tunnel_tailscale.connect import connect
    from prx_tunnel_tailscale.diagnose import diagnose
    from prx_tunnel_tailscale.program import INSTALL_HINT

    yield Backend(
        name="tailscale",
        summary="Tailscale Funnel: a stable public name, or Serve: the tailnet only",
        config=TailscaleConfig,
        connect=connect,
        program="tailscale",
        install_hint=INSTALL_HINT,
        diagnose=diagnose,
        example=EXAMPLE,
        servers=lambda _: ["controlplane.tailscale.com:443"],
    )
