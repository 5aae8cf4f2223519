"""Who is at the other end of a Unix socket; imports next to nothing, like `place`."""

from __future__ import annotations

import _socket  # what `socket` is made of, for a tenth of the time that importing that takes
import os
import sys

_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2  # <sys/un.h> of macOS


def credentials(connection: _socket.socket) -> tuple[int, int]:
    """Process and user id of the other end; process 0 when it is in another PID namespace."""
    if sys.platform == "darwin":  # struct xucred: version, user, groups
        user = _integer(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76), 1)
        return _integer(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4), 0), user
    raw = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return _integer(raw, 0), _integer(raw, 1)


def trusted(user: int) -> bool:
    """Only this user, and root, who can do everything anyway."""
    return user in (os.geteuid(), 0)


def _integer(raw: bytes, index: int) -> int:
    return int.from_bytes(raw[4 * index : 4 * index + 4], sys.byteorder)
