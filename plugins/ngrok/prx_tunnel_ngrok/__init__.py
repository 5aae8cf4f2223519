"""ngrok as a backend of prx-tunnel: its agent, version 3, run as a child process.

config     [tunnel.ngrok]
policy     the keys that protect the tunnel, as one traffic policy
agentfile  the files that the agent reads
program    whether `ngrok` is ngrok's agent
log        its log as a state machine
codes      what to do about ERR_NGROK_n
reasons    what network errors mean
agent      one run of the agent
health     its checks
connect    all of it together
diagnose   for `prx tunnel doctor`
"""

from __future__ import annotations

from collections.abc import Iterable

from prx_tunnel_core.backend import AnyBackend, Backend
from prx_tunnel_core.hookspecs import hookimpl


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    from prx_tunnel_ngrok.config import EXAMPLE, NgrokConfig
    from prx_tunnel_ngrok.connect import connect
    from prx_tunnel_ngrok.diagnose import diagnose
    from prx_tunnel_ngrok.program import INSTALL_HINT

    yield Backend(
        name="ngrok",
        summary="ngrok.com, by its agent: random or own domains, OAuth, IP rules",
        config=NgrokConfig,
        connect=connect,
        program="ngrok",
        install_hint=INSTALL_HINT,
        diagnose=diagnose,
        example=EXAMPLE,
        servers=lambda _: ["connect.ngrok-agent.com:443"],
    )
