"""Opens one authenticated SSH connection, and explains why it failed or was lost."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncssh
from anyio import CancelScope, move_on_after
from asyncssh.connection import SSHConnection
from typing_extensions import override

from prx_tunnel_core.errors import ConnectError, SetupError, TunnelError
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.programs import time_left
from prx_tunnel_core.text import Redactor, one_line
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.congestion import Congestion, watch
from prx_tunnel_ssh.credentials import complete_environment, open_keys, user_name
from prx_tunnel_ssh.hostkeys import KnownHosts, read_known_hosts, untrusted

_TOO_MANY_FAILURES = "too many authentication failures"


class Peer(asyncssh.SSHClient):
    """asyncssh's callbacks for one client connection."""

    def __init__(self) -> None:
        self.shown_key: asyncssh.SSHKey | None = None
        """The host key of the server, if it is not trusted."""
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The reason why the connection ended, once it has."""
        self.congestion: Congestion | None = None

    @override
    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.congestion = watch(conn)

    @override
    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        self.shown_key = key
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self.congestion is not None:
            self.congestion.resume_writing()
        if not self.lost.done():
            self.lost.set_result(_why_lost(exc))


@dataclass(frozen=True)
class Access:
    """The known host keys of the server, and the keys of this client."""

    known: KnownHosts
    keys: Sequence[asyncssh.SSHKeyPair]


@dataclass(frozen=True)
class Transport:
    connection: asyncssh.SSHClientConnection
    peer: Peer


@asynccontextmanager
async def open_transport(
    config: SshConfig, access: Access | None = None
) -> AsyncIterator[Transport]:
    """Connect, verify the server and authenticate; disconnect on exit.

    `access` replaces the keys and known hosts of the configuration. Raises SetupError for errors
    that the user has to fix, and ConnectError for transient ones.
    """
    quiet_asyncssh()
    peer = Peer()
    if access is not None:
        connection = await _connect(config, access, peer)
    else:
        known = read_known_hosts(config)
        async with open_keys(config) as keys:
            connection = await _connect(config, Access(known, keys), peer)
    try:
        yield Transport(connection, peer)
    finally:
        await _disconnect(connection)


async def _connect(config: SshConfig, access: Access, peer: Peer) -> asyncssh.SSHClientConnection:
    try:
        options = _options(config, access, peer)
        complete_environment()
        with move_on_after(time_left()):
            return await _connect_or_undo(asyncssh.connect(**options))
    except socket.gaierror as error:  # also when the network is down
        raise ConnectError(
            f"tunnel.ssh.host: {config.host} was not found ({error.strerror}); "
            "check its spelling, and the name servers of this machine"
        ) from None
    except UnicodeError:  # the IDNA codec rejects the name
        raise SetupError(
            f"tunnel.ssh.host: {config.host} is not a valid host name; correct it"
        ) from None
    except (OSError, asyncssh.Error, ValueError) as error:
        raise _explain(error, config, access, peer) from None
    raise ConnectError(
        f"the SSH server {config.host}:{config.port} did not answer in time; check tunnel.ssh.host "
        "and tunnel.ssh.port, and that no firewall drops the connection"
    )


async def round_trip(connection: SSHConnection, *, timeout: float) -> float | None:
    """The seconds until the peer answered a keepalive; None after `timeout` seconds.

    Every implementation answers, if only with a failure (RFC 4254, section 4). asyncssh has no
    public function for a request with a reply, and its own keepalives do not report the reply. The
    test of this function fails if a new version renames or replaces the private one.
    """
    start = time.monotonic()
    with move_on_after(timeout):
        await connection._make_global_request(b"keepalive@openssh.com")  # noqa: SLF001
        return time.monotonic() - start
    return None


def quiet_asyncssh() -> None:
    """Hide asyncssh's messages about each connection, unless the host has set its log level."""
    logger = get_logger("asyncssh")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


def _options(config: SshConfig, access: Access, peer: Peer) -> dict[str, Any]:
    password = None if config.password is None else config.password.get_secret_value()
    # asyncssh gives up after count_max + 1 silent intervals. The interval is shortened so that this
    # takes keepalive_interval * keepalive_count seconds.
    interval = config.keepalive_interval * config.keepalive_count / (config.keepalive_count + 1)
    return {
        "host": config.host,
        "port": config.port,
        "username": config.username or user_name(),
        "client_keys": list(access.keys) or None,
        "password": password,
        "known_hosts": access.known.hosts,
        "server_host_key_algs": access.known.algorithms,
        "client_factory": lambda: peer,
        # Preferred: a packet costs a fifth of the time of asyncssh's own first choice.
        "encryption_algs": "^aes256-gcm@openssh.com,aes128-gcm@openssh.com",
        "keepalive_interval": interval,
        "keepalive_count_max": config.keepalive_count,
        # Only this configuration applies: no ~/.ssh/config, and no agent by default.
        "config": None,
        "agent_path": None,
        "gss_host": None,
        "x509_trusted_certs": None,
        "host_based_auth": False,
    }


async def _connect_or_undo(
    connecting: Awaitable[asyncssh.SSHClientConnection],
) -> asyncssh.SSHClientConnection:
    """Connect in a separate task, and disconnect if it completes despite the cancellation.

    The coroutine cannot clean up by itself, because a cancel scope interrupts each of its awaits.
    """
    task = asyncio.ensure_future(connecting)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        with CancelScope(shield=True):
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                await _disconnect(task.result())
        raise
    return task.result()


async def _disconnect(connection: asyncssh.SSHClientConnection) -> None:
    with CancelScope(shield=True):
        connection.close()
        await connection.wait_closed()


def _why_lost(error: Exception | None) -> str:
    if error is None:
        return "the SSH server closed the connection"
    text = one_line(str(error)) or type(error).__name__
    if "keepalive" in text:
        return "the SSH server no longer answers (keepalive)"
    if isinstance(error, asyncssh.ConnectionLost | OSError):
        return "the connection to the SSH server was lost"
    return f"the SSH server closed the connection: {text}"


def _explain(error: Exception, config: SshConfig, access: Access, peer: Peer) -> TunnelError:
    """The error to raise: SetupError if the user has to fix something, else ConnectError."""
    secrets = [] if config.password is None else [config.password.get_secret_value()]
    text = Redactor(secrets)(one_line(_words(error)))
    server = f"{config.host}:{config.port}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        if peer.shown_key is not None:
            return untrusted(access.known, config.port, config.host or "", peer.shown_key)
        return SetupError(f"{server}: {text}; see {access.known.path}")
    if isinstance(error, asyncssh.PermissionDenied):
        return _refused(config, access.keys)
    if isinstance(error, asyncssh.DisconnectError) and _TOO_MANY_FAILURES in text.lower():
        return SetupError(
            f"{server} gave up after {len(access.keys)} keys: name the right one with "
            "identity_file (for a key that the agent holds: its .pub file)"
        )
    if isinstance(error, asyncssh.KeyExchangeFailed | asyncssh.IllegalUserName | ValueError):
        return SetupError(f"{server}: {text}")
    return ConnectError(
        f"cannot connect to the SSH server {server}: {text or type(error).__name__}"
    )


def _words(error: Exception) -> str:
    """The error's text; for an OSError without the failed call, which asyncio puts in front."""
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    return str(error)


def _refused(config: SshConfig, keys: Sequence[asyncssh.SSHKeyPair]) -> SetupError:
    user = config.username or user_name()
    tried = [f"the key {key.get_algorithm()} {_fingerprint(key)}" for key in keys]
    if config.password is not None:
        tried.append("the password")
    if not tried:
        return SetupError(
            f"{config.host} asks {user!r} for a key or a password, but none is configured: set "
            "identity_file, agent or password in [tunnel.ssh]"
        )
    return SetupError(
        f"{config.host} refused {user!r} with {', '.join(tried)}: check username, and that the "
        f"public key is in ~{user}/.ssh/authorized_keys on the server "
        "(which must not be writable by others)"
    )


def _fingerprint(key: asyncssh.SSHKeyPair) -> str:
    """The fingerprint in the format of `ssh-keygen -l`."""
    digest = hashlib.sha256(key.public_data).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
