"""The embedded relay for tunnels without a server, reachable only from this machine.

It is an SSH server on a loopback port, with keys that are generated for each connection.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import asyncssh

from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Check
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.connection import SshConnection, open_tunnel
from prx_tunnel_ssh.credentials import complete_environment
from prx_tunnel_ssh.hostkeys import KnownHosts
from prx_tunnel_ssh.relay.log import Log
from prx_tunnel_ssh.relay.server import Relay, open_relay
from prx_tunnel_ssh.relay.settings import Limits, Ports, RelaySettings
from prx_tunnel_ssh.transport import Access, quiet_asyncssh

NOTE = "embedded relay: reachable from this machine only"

_LOOPBACK = "127.0.0.1"
logger = get_logger("prx_tunnel_ssh")

# The last port of each target, so that the URL stays the same when the tunnel reconnects.
_last_ports: dict[Target, int] = {}


class EmbeddedConnection(Connection):
    def __init__(self, connection: SshConnection, relay: Relay) -> None:
        self.public_url = connection.public_url
        self.details = {"note": NOTE, "relay": f"{_LOOPBACK}:{relay.port}", **connection.details}
        self._connection = connection
        self._relay = relay

    async def wait_closed(self) -> str:
        return await self._connection.wait_closed()

    async def check(self) -> Iterable[Check]:
        listening = any(g.grants and g.grants.listening for g in self._relay.guests)
        port = Check("listener", "ok" if listening else "fail", self.public_url)
        return [*await self._connection.check(), port]

    async def abort(self) -> bool:
        """Abort the relay's listener and connections; the tunnel has to detect the loss itself."""
        self._relay.abort()
        return True


@asynccontextmanager
async def open_embedded_tunnel(config: SshConfig, target: Target) -> AsyncIterator[Connection]:
    quiet_asyncssh()
    complete_environment()
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    client_key = asyncssh.generate_private_key("ssh-ed25519")
    async with (
        open_relay(
            _settings(config, target),
            lambda key, _address: key == client_key.convert_to_public(),
            host_key=host_key,
            log=Log(logging.DEBUG),
        ) as relay,
        open_tunnel(_client(config, relay), target, _access(host_key, client_key)) as tunnel,
    ):
        connection = EmbeddedConnection(tunnel, relay)
        # A warning only the first time; every connection has the note in its details.
        level = logging.INFO if target in _last_ports else logging.WARNING
        logger.log(level, "%s (%s)", NOTE, connection.public_url)
        _last_ports[target] = tunnel.port
        yield connection


def _settings(config: SshConfig, target: Target) -> RelaySettings:
    asked = config.remote_port
    ports = (
        Ports((range(asked, asked + 1),), chosen=False)
        if asked
        else Ports(preferred=_last_ports.get(target, 0))
    )
    limits = Limits(per_key=1, tunnels_per_key=1)
    return RelaySettings(bind=_LOOPBACK, ports=ports, limits=limits)


def _client(config: SshConfig, relay: Relay) -> SshConfig:
    return config.model_copy(update={"host": _LOOPBACK, "port": relay.port, "username": "embedded"})


def _access(host_key: asyncssh.SSHKey, client_key: asyncssh.SSHKey) -> Access:
    public = host_key.convert_to_public()
    line = f"* {public.export_public_key().decode()}"
    known = KnownHosts("the embedded relay", "", asyncssh.import_known_hosts(line), (public,))
    return Access(known, asyncssh.load_keypairs([client_key]))
