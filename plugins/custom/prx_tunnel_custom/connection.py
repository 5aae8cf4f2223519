"""A tunnel without a program of ours; where there is one, the process is the connection."""

from __future__ import annotations

import anyio

from prx_tunnel_core.backend import Connection


class External(Connection):
    """A tunnel that another program keeps open; only a probe of its URL shows whether it works."""

    def __init__(self, public_url: str) -> None:
        self.public_url = public_url

    async def wait_closed(self) -> str:
        await anyio.Event().wait()
        return ""
