"""The backend `ngrok`: ngrok's agent, version 3.

config      [tunnel.ngrok]
connect     starts the agent, and again while ngrok still counts our last one
connection  a running agent, and its checks
diagnose    for `prx tunnel doctor`
program     whether `ngrok` is ngrok's agent, and recent enough
agentfile   the files that the agent reads
policy      the keys that protect the tunnel, as one traffic policy; `yaml12` reads the user's own
log         the agent's log as a state machine
reasons     what ngrok's error codes and network errors mean, and what to do
"""

from __future__ import annotations

from collections.abc import Iterable

from prx_tunnel_core.backend import AnyBackend, Backend
from prx_tunnel_core.hookspecs import hookimpl


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    from prx_tunnel_ngrok.config import EXAMPLE, NgrokConfig
    from prx_tunnel_ngrok.connect import connect
    from prx_tunnel_ngrok.connection import PROBE_HEADERS, classify_response
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
        classify_response=classify_response,
        probe_headers=PROBE_HEADERS,
    )
