"""How an application in this process recognises the health checks of its own tunnel.

By a mark that is good for one request: a name in a header, which anybody can send, would let a
visitor's request pass for a check.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

MARK = "x-prx-tunnel-probe"

_expected: set[str] = set()


@contextmanager
def marked() -> Iterator[dict[str, str]]:
    """The header for one request, which is recognised until the context is left."""
    mark = secrets.token_hex(16)
    _expected.add(mark)
    try:
        yield {MARK: mark}
    finally:
        _expected.discard(mark)


def take_mark(mark: str) -> bool:
    """Whether the mark belongs to a check that is being made; it is not accepted twice."""
    if mark not in _expected:
        return False
    _expected.discard(mark)
    return True
