"""frp as a backend of prx-tunnel: frpc, run as a child process.

config      [tunnel.frp]
frpc_file   the file that frpc reads
admin       what frpc's own web server says
connect     all of it together
"""

from collections.abc import Iterable

from prx_tunnel_core import AnyBackend, Backend, hookimpl
from prx_tunnel_frp.config import FrpConfig
from prx_tunnel_frp.connect import INSTALL_HINT, connect

__all__ = ["FrpConfig", "prx_tunnel_backends"]


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    yield Backend(
        name="frp",
        summary="frp: an HTTP domain or a TCP port of an frps of your own",
        config=FrpConfig,
        connect=connect,
        program="frpc",
        install_hint=INSTALL_HINT,
        servers=lambda config: [f"{config.server}:{config.server_port}"],
    )
