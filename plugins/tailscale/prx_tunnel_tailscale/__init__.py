"""The `tailscale` backend: a node's Funnel (public) or Serve (its tailnet only)."""

from __future__ import annotations

from collections.abc import Iterable

from prx_tunnel_core import AnyBackend, Backend, hookimpl
from prx_tunnel_tailscale.config import EXAMPLE, TailscaleConfig
from prx_tunnel_tailscale.connect import connect
from prx_tunnel_tailscale.doctor import diagnose
from prx_tunnel_tailscale.program import INSTALL_HINT

__all__ = ["TailscaleConfig", "prx_tunnel_backends"]


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
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
