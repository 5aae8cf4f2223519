"""The backend `custom`: any program that opens a tunnel.

config        [tunnel.custom]
connect       runs the program, finds the URL in its output, waits until the tunnel is up
connection    a tunnel without a program of ours
diagnose      for `prx tunnel doctor`
command       the key `command`: words for the operating system, without a shell
announcement  from a line of output to the public URL
pattern       the keys `url_pattern` and `ready_pattern`
"""

from __future__ import annotations

from collections.abc import Iterable

from prx_tunnel_core.backend import AnyBackend, Backend
from prx_tunnel_core.hookspecs import hookimpl


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    from prx_tunnel_custom.config import EXAMPLE, CustomConfig
    from prx_tunnel_custom.connect import connect
    from prx_tunnel_custom.diagnose import diagnose

    yield Backend(
        name="custom",
        summary="any tunnel program: bore, ssh, frp, your own",
        config=CustomConfig,
        connect=connect,
        diagnose=diagnose,
        example=EXAMPLE,
    )
