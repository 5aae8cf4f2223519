"""The common part of ports and web sites: the guest that they belong to, and their visitors."""

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
_ALL_WINDOWS = 4 * 1024 * 1024


@dataclass(frozen=True)
class Lease:
    """The resources of one tunnel, and the address that the guest requested."""

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
        """Whether a visitor can enter; an idle one of a larger address may be evicted for it."""
        return make_room(self.visitors, visitor.source)

    @property
    def window(self) -> int:
        """Bytes that the guest may send ahead for another visitor: fewer, the more there are."""
        return max(_LEAST_WINDOW, min(_MOST_WINDOW, _ALL_WINDOWS // (len(self.crowd) + 1)))

    def touch(self, visitor: Visitor) -> None:
        """The visitor has sent or received something."""
        self.visitors.touch(visitor)
        self.crowd.touch(visitor)


class Tunnel(asyncssh.SSHListener):
    """A listener for asyncssh, which closes it when the guest cancels it or disconnects."""

    def __init__(self, lease: Lease) -> None:
        super().__init__()
        self.lease = lease

    @override
    def close(self) -> None:
        """Accept no more visitors; present ones may stay as long as the connection does."""
        self.lease.on_close()

    @override
    async def wait_closed(self) -> None:
        """Closing is immediate."""
