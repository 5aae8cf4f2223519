"""Open the tunnel: through an SSH server, or through the embedded relay when there is none.

asyncssh is imported only here, in the functions: it takes a quarter of a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.errors import ConfigError, SetupError
from prx_tunnel_core.urls import leads_here
from prx_tunnel_ssh.config import SshConfig


@asynccontextmanager
async def connect(config: SshConfig, target: Target) -> AsyncIterator[Connection]:
    """Open a tunnel through `config.host`, or through the embedded relay when there is none.

    Raises SetupError on another event loop than asyncio's, for a host key that is not trusted and
    for credentials that the server refuses; ConnectError for everything that may pass.
    """
    _require_asyncio()
    _refuse_target(config, target)
    if config.host is None:
        from prx_tunnel_ssh.embedded import open_embedded_tunnel

        async with open_embedded_tunnel(config, target) as connection:
            yield connection
    else:
        from prx_tunnel_ssh.connection import open_tunnel

        async with open_tunnel(config, target) as connection:
            yield connection


def _require_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise SetupError(
            "the ssh backend needs asyncio, and this program runs another event loop (trio): run "
            "the tunnel on asyncio, or use the custom backend with the program ssh"
        ) from None


def _refuse_target(config: SshConfig, target: Target) -> None:
    url = config.known_url()
    if url is not None and leads_here(url, target.port):
        raise ConfigError(
            f"tunnel.ssh.public_url: {url} is the local target itself; "
            "write the URL under which others reach it"
        )
