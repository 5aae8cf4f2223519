"""The backend `custom`: any program that opens a tunnel."""

from __future__ import annotations

from collections.abc import Iterable

from prx_tunnel_core.backend import AnyBackend, Backend
from prx_tunnel_core.hookspecs import hookimpl
from prx_tunnel_custom.config import EXAMPLE, CustomConfig
from prx_tunnel_custom.diagnosis import diagnose
from prx_tunnel_custom.tunnel import connect

__all__ = ["CustomConfig", "prx_tunnel_backends"]


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    yield Backend(
        name="custom",
        summary="any tunnel program: bore, ssh, frp, your own",
        config=CustomConfig,
        connect=connect,
        diagnose=diagnose,
        example=EXAMPLE,
    )
