"""The backend `cloudflare`: Cloudflare Tunnel, by cloudflared.

config       [tunnel.cloudflare]
connect      runs cloudflared, waits for the edge, learns the public name
connection   a tunnel that is up: its checks, and when it counts as dropped
diagnose     for `prx tunnel doctor`
credentials  token and credentials file
command      the arguments, environment and configuration file of cloudflared
connector    a running cloudflared
readiness    waits for the first edge connection
refusal      finds out why Cloudflare refuses a tunnel
naming       the public host name
ingress      which host names lead where
metrics      cloudflared's metrics server
journal      what the log has shown so far, read by `logline`, explained by `reasons`
access       Cloudflare Access, for the origin behind the tunnel; its keys: `access_keys`
"""

from __future__ import annotations

from collections.abc import Iterable

from prx_tunnel_core import AnyBackend, hookimpl


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    from prx_tunnel_cloudflare.config import EXAMPLE, CloudflareConfig
    from prx_tunnel_cloudflare.connect import connect
    from prx_tunnel_cloudflare.connection import classify_response
    from prx_tunnel_cloudflare.connector import INSTALL_HINT
    from prx_tunnel_cloudflare.diagnose import diagnose
    from prx_tunnel_core import Backend

    yield Backend(
        name="cloudflare",
        summary="Cloudflare Tunnel: quick, or named with a token or credentials",
        config=CloudflareConfig,
        connect=connect,
        program="cloudflared",
        install_hint=INSTALL_HINT,
        diagnose=diagnose,
        example=EXAMPLE,
        servers=lambda config: [
            *(["api.trycloudflare.com:443"] if config.kind == "quick" else []),
            "region1.v2.argotunnel.com:7844",
        ],
        classify_response=classify_response,
    )
