"""`[tunnel.ssh]`: any SSH server that forwards ports is a relay; without one, a relay of our own.

config.py       what may be set
tunnel.py       connect: transport, remote forwarding, public URL
transport.py    one authenticated SSH connection, and why it could not be had
hostkeys.py     which host keys are trusted, and what to do about one that is not
credentials.py  keys, agent, password
forwarding.py   the connections that pass through
congestion.py   back-pressure of an SSH connection as a whole
announcement.py the URL that some servers print into the session
embedded.py     the relay in this process, for a tunnel without a server
relay/          the relay itself; `python -m prx_tunnel_ssh.relay` runs it alone
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from prx_tunnel_core.backend import AnyBackend, Backend, Connection, Target
from prx_tunnel_core.errors import ConfigError, SetupError
from prx_tunnel_core.hookspecs import hookimpl
from prx_tunnel_core.models import Check
from prx_tunnel_core.urls import leads_here
from prx_tunnel_ssh.config import EXAMPLE, SshConfig


@asynccontextmanager
async def connect(config: SshConfig, target: Target) -> AsyncIterator[Connection]:
    """Open a tunnel through `config.host`, or through the embedded relay when there is none.

    Raises SetupError on another event loop than asyncio's, for a host key that is not trusted and
    for credentials that the server refuses; ConnectError for everything that may pass.
    """
    _require_asyncio()
    _refuse_target(config, target)
    # Imported here: asyncssh takes a quarter of a second, which only this backend has to wait for.
    if config.host is None:
        from prx_tunnel_ssh.embedded import open_embedded_tunnel

        async with open_embedded_tunnel(config, target) as connection:
            yield connection
    else:
        from prx_tunnel_ssh.tunnel import open_tunnel

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


async def diagnose(config: SshConfig) -> Iterable[Check]:
    from prx_tunnel_ssh.diagnosis import look

    return look(config)


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    yield Backend(
        name="ssh",
        summary="any SSH server with remote forwarding; alone, a relay on this machine",
        config=SshConfig,
        connect=connect,
        diagnose=diagnose,
        example=EXAMPLE,
        servers=lambda config: [f"{config.host}:{config.port}"] if config.host else [],
    )
