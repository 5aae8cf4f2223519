"""Ask the other side of an SSH connection for a sign of life."""

from __future__ import annotations

import time

from anyio import move_on_after
from asyncssh.connection import SSHConnection


async def round_trip(connection: SSHConnection, *, timeout: float) -> float | None:
    """Seconds until the other side answered a keepalive, or None when it did not within `timeout`.

    Every implementation answers, if only that it does not know the request (RFC 4254, section 4).
    asyncssh sends the same one by itself, but tells nobody that it was answered.
    """
    start = time.monotonic()
    with move_on_after(timeout):
        await connection._make_global_request(b"keepalive@openssh.com")  # noqa: SLF001
        return time.monotonic() - start
    return None
