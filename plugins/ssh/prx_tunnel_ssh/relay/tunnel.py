"""What a port and a web site have in common: they belong to a guest, and have visitors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import asyncssh
from typing_extensions import override

from prx_tunnel_ssh.congestion import Congestion
from prx_tunnel_ssh.forwarding import End
from prx_tunnel_ssh.relay.crowd import Crowd, Visitor, make_room
from prx_tunnel_ssh.relay.openings import Openings
from prx_tunnel_ssh.relay.pool import Pool

_LEAST_WINDOW = 16 * 1024
_MOST_WINDOW = 256 * 1024
_ALL_WINDOWS = 8 * 1024 * 1024


@dataclass(frozen=True)
class Lease:
    """What a guest asked for, and was given."""

    connection: asyncssh.SSHServerConnection
    congestion: Congestion
    openings: Openings
    owner: str
    """The tenant: the fingerprint of its key."""
    host: str
    port: int
    """As the guest asked for it, and so as each visitor is announced to it; may be 0."""
    visitors: Pool[Visitor]
    """Through this connection, by address."""
    crowd: Crowd
    ends: set[End]
    on_close: Callable[[], None]

    def has_room_for(self, visitor: Visitor) -> bool:
        """Another visitor, the longest idle of the address that has the most, may go for it."""
        return make_room(self.visitors, visitor.source)

    @property
    def window(self) -> int:
        """How much the guest may send ahead for another visitor: the less, the more there are."""
        return max(_LEAST_WINDOW, min(_MOST_WINDOW, _ALL_WINDOWS // (len(self.crowd) + 1)))

    def touch(self, visitor: Visitor) -> None:
        """The visitor has moved something."""
        self.visitors.touch(visitor)
        self.crowd.touch(visitor)


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
