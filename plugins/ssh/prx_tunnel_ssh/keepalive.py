"""Measure whether the other side of an SSH connection still answers."""

from __future__ import annotations

import time

from anyio import move_on_after
from asyncssh.connection import SSHConnection


async def round_trip(connection: SSHConnection, *, timeout: float) -> float | None:
    """Seconds until the other side answered a keepalive, or None when it did not within `timeout`.

    Every implementation answers, if only with a failure (RFC 4254, section 4). asyncssh has no
    public function for a request with an answer; its own keepalives do not report theirs. The test
    of this function fails when a new version renames or replaces the private one.
    """
    start = time.monotonic()
    with move_on_after(timeout):
        await connection._make_global_request(b"keepalive@openssh.com")  # noqa: SLF001
        return time.monotonic() - start
    return None
