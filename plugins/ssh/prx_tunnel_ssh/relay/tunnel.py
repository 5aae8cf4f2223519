"""What a port and a web site have in common: they belong to a guest, and have visitors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import asyncssh
from typing_extensions import override

from prx_tunnel_ssh.forwarding import End

WINDOW = 256 * 1024
"""How much a guest may send ahead for one visitor: a visitor who asks for much and reads nothing
must not cost the relay asyncssh's two megabytes each time."""


class Visitors(set[object]):
    """Those who are connected through one guest at this moment."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    @property
    def full(self) -> bool:
        return len(self) >= self._most


@dataclass(frozen=True)
class Lease:
    """What a guest asked for, and was given."""

    connection: asyncssh.SSHServerConnection
    host: str
    port: int
    """As the guest asked for it, and so as each visitor is announced to it; may be 0."""
    visitors: Visitors
    ends: set[End]
    on_close: Callable[[], None]


class Tunnel(asyncssh.SSHListener):
    """What asyncssh closes when the guest cancels the forwarding, or goes."""

    def __init__(self, lease: Lease) -> None:
        super().__init__()
        self.lease = lease

    @override
    def close(self) -> None:
        """Accept nobody else; those who are here may stay as long as the connection does."""
        self.lease.on_close()

    @override
    async def wait_closed(self) -> None:
        """Closing is immediate."""
