"""The backend `frp`: frpc, run as a child process.

config      [tunnel.frp]
connect     writes frpc's file, runs frpc, waits until frps has accepted the proxy
connection  an open tunnel
diagnose    for `prx tunnel doctor`
frpc_file   the file that frpc reads
admin       frpc's own web server, which reports the state of the proxy
"""

from collections.abc import Iterable

from prx_tunnel_core import AnyBackend, Backend, hookimpl


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    from prx_tunnel_frp.config import INSTALL_HINT, FrpConfig
    from prx_tunnel_frp.connect import connect
    from prx_tunnel_frp.diagnose import diagnose

    yield Backend(
        name="frp",
        summary="frp: an HTTP domain or a TCP port of your own frps",
        config=FrpConfig,
        connect=connect,
        program="frpc",
        install_hint=INSTALL_HINT,
        diagnose=diagnose,
        servers=lambda config: [f"{config.server}:{config.server_port}"],
    )
