"""The backend `ssh`: any SSH server that forwards ports; without one, a relay in this process.

config        [tunnel.ssh]
connect       opens the tunnel
connection    remote forwarding, and the public URL that leads to it
diagnose      for `prx tunnel doctor`
transport     one authenticated SSH connection, why it failed or was lost
hostkeys      which host keys are trusted, and what to do about one that is not
credentials   user name, keys, agent, password
forwarding    the connections that pass through a tunnel
congestion    back-pressure of an SSH connection as a whole
announcement  the URL that some servers print into the session
pattern       the key `url_pattern`
embedded      the relay in this process, for a tunnel without a server
relay         the relay itself; `python -m prx_tunnel_ssh.relay` runs it alone
"""

from __future__ import annotations

from collections.abc import Iterable

from prx_tunnel_core.backend import AnyBackend, Backend
from prx_tunnel_core.hookspecs import hookimpl


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    from prx_tunnel_ssh.config import EXAMPLE, SshConfig
    from prx_tunnel_ssh.connect import connect
    from prx_tunnel_ssh.diagnose import diagnose

    yield Backend(
        name="ssh",
        summary="any SSH server with remote forwarding; alone, a relay on this machine",
        config=SshConfig,
        connect=connect,
        diagnose=diagnose,
        example=EXAMPLE,
        servers=lambda config: [f"{config.host}:{config.port}"] if config.host else [],
    )
