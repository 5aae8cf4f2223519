"""An open connection, after core has checked what the backend says about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import anyio

from prx_tunnel_core.backend import Backend, Connection, Target
from prx_tunnel_core.errors import ConnectError, PluginError
from prx_tunnel_core.models import TunnelInfo
from prx_tunnel_core.text import Redactor
from prx_tunnel_core.urls import ANY_URL, leads_here


@dataclass(frozen=True)
class OpenConnection:
    backend: Backend[Any]
    connection: Connection
    info: TunnelInfo
    since: float
    """When it came up, on the event loop's clock."""

    @classmethod
    def checked(
        cls, connection: object, *, backend: Backend[Any], target: Target, redact: Redactor
    ) -> OpenConnection:
        """Accept what a backend yielded.

        Raises PluginError for anything but a `Connection`, ConnectError for an invalid public URL.
        """
        name = backend.name
        if not isinstance(connection, Connection):
            kind = type(connection).__name__
            raise PluginError(f"backend {name!r} yielded a {kind}, not a Connection")
        try:
            url = ANY_URL.accept(connection.public_url)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConnectError(f"backend {name!r} gave no valid public URL: {error}") from None
        if leads_here(url, target.port):
            raise ConnectError(f"backend {name!r} gave the local address {url} as public URL")
        info = TunnelInfo(
            public_url=url,
            backend=name,
            local_port=target.port,
            started_at=datetime.now(UTC),
            details={key: redact(str(text)) for key, text in connection.details.items()},
            visitor_headers=connection.visitor_headers,
        )
        return cls(backend, connection, info, anyio.current_time())
