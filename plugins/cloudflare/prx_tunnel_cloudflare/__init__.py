"""prx-tunnel backend for Cloudflare Tunnel.

`connect` runs cloudflared (`command`, `connector`), waits for the edge (`readiness`, `metrics`),
learns the public name (`naming`, `ingress`) and yields the connection (`connection`). What the log
says of a failure goes `logline` -> `wordings` -> `reasons`, gathered by `journal`. `access` stands
alone: it is for the origin behind the tunnel.
"""

from __future__ import annotations

from collections.abc import Iterable

from prx_tunnel_core import AnyBackend, hookimpl


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    from prx_tunnel_cloudflare.connect import connect
    from prx_tunnel_cloudflare.connector import INSTALL_HINT
    from prx_tunnel_cloudflare.diagnose import diagnose
    from prx_tunnel_cloudflare.settings import EXAMPLE, CloudflareConfig
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
    )
