"""One SSH connection: authentication, and the requests that are granted.

Remote forwarding is granted. The defaults of asyncssh refuse everything else: direct channels,
sessions (except `Notice`), tun devices, sockets in the file system. The tests request each of them
with OpenSSH's client.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import asyncssh
from asyncssh.constants import DISC_TOO_MANY_CONNECTIONS
from typing_extensions import override

from prx_tunnel_ssh.congestion import Congestion, watch
from prx_tunnel_ssh.relay.algorithms import weakness
from prx_tunnel_ssh.relay.connection import GuestConnection
from prx_tunnel_ssh.relay.grants import Grants
from prx_tunnel_ssh.relay.limits import source_of
from prx_tunnel_ssh.relay.log import LimitedLog
from prx_tunnel_ssh.relay.notice import Notice
from prx_tunnel_ssh.relay.state import RelayState

_numbers = itertools.count(1)


class Guest(asyncssh.SSHServer):
    def __init__(
        self,
        state: RelayState,
        options: asyncssh.SSHServerConnectionOptions,
        address: str,
        on_leave: Callable[[Guest], None],
    ) -> None:
        self.connection = GuestConnection(options, self, self._hoards, state.tasks)
        self._state = state
        self._on_leave = on_leave
        self._log = LimitedLog(state.log)
        self._number = next(_numbers)
        self._address = address
        self.source = source_of(address)
        self._evicted = False
        self._offers = 0
        self._offered: asyncssh.SSHKey | None = None
        self._notice: Notice | None = None
        self._congestion: Congestion | None = None
        self.grants: Grants | None = None
        """Its tunnels; None before it has authenticated."""

    def log(self, event: str, **fields: object) -> None:
        log = self._state.log.limited if self.grants is None else self._log
        log(event, guest=self._number, **fields)

    def evict(self) -> None:
        """Make room for another connection: this one has not logged in."""
        self.log("connection ended", address=self._address, reason="too many have not logged in")
        self._evicted = True
        self.connection.abort()

    def _hoards(self, reason: str) -> None:
        """End a connection that would fill the memory of the relay."""
        self.log("connection ended", address=self._address, reason=reason)
        self.connection.abort()

    @override
    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._congestion = watch(conn)
        self.log("connection", address=self._address)
        if self._evicted:
            conn.abort()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._congestion is not None:
            self._congestion.resume_writing()
        self._on_leave(self)
        if self.grants is not None:
            self.grants.end()
            self._state.owners.give_back(self.grants.owner)
        self.log("disconnected", reason=exc)

    @override
    def begin_auth(self, username: str) -> bool:
        return True  # for every user name: the key alone identifies the guest

    @override
    def public_key_auth_supported(self) -> bool:
        return True

    @override
    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Judge a key: asyncssh calls this for each that is offered, and for the one that signs."""
        self._offers += 1
        if self._offers > self._state.settings.limits.key_offers:
            self.log("connection refused", reason="too many keys offered")
            self.connection.abort()
            return False
        self._offered = key
        if (why := weakness(key)) is not None:
            self.log("key refused", fingerprint=key.get_fingerprint(), reason=why)
            return False
        if self._state.admits(key, self._address):
            return True
        self.log("key refused", user=username, fingerprint=key.get_fingerprint())
        return False

    @override
    def auth_completed(self) -> None:
        # asyncssh checks one key at a time and lets nothing come between the signature and this
        # call, so the last key offered is the one that signed.
        key = self._offered
        self._state.startups.leave(self)
        congestion = self._congestion
        if key is None or congestion is None or not self._state.owners.take(key.get_fingerprint()):
            reason = "too many connections with this key"
            self.log("connection refused", reason=reason)
            self.connection.disconnect(DISC_TOO_MANY_CONNECTIONS, reason)
            return
        self.grants = Grants(self._state, self.connection, congestion, key, self.log)
        self.log("authenticated", fingerprint=key.get_fingerprint())

    @override
    def session_requested(self) -> Notice | bool:
        if self._state.settings.site is None or self._notice is not None or self.grants is None:
            return False
        self._notice = Notice(self.grants.urls)
        self.grants.announce = self._notice.announce
        return self._notice

    @override
    async def server_requested(
        self, listen_host: str, listen_port: int
    ) -> asyncssh.SSHListener | bool:
        if self.grants is None:
            return False
        return await self.grants.grant(listen_host, listen_port) or False
