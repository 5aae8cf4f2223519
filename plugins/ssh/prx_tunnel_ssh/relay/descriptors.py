"""How many connections the descriptors of this process allow."""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import replace

from prx_tunnel_ssh.relay.settings import Limits

# For the listeners, the files of the interpreter, and what the relay opens now and then.
_RESERVED = 64
_WHERE_UNLIMITED = 65_536


def raise_descriptor_limit() -> int:
    """Raise the soft limit of this process to its hard one; returns the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, _WHERE_UNLIMITED):  # macOS has no number for its hard limit
        if soft != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > soft):
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                break
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _WHERE_UNLIMITED if soft == resource.RLIM_INFINITY else soft


def fit(limits: Limits, descriptors: int) -> Limits:
    """The limits, lowered in proportion where so many descriptors do not allow them."""
    room = max(3, descriptors - _RESERVED)
    wanted = limits.connections + limits.startups + limits.visitors_in_all
    if wanted <= room:
        return limits
    names = ("connections", "startups", "visitors_in_all", "visitors_per_address")
    lowered = {name: max(1, getattr(limits, name) * room // wanted) for name in names}
    return replace(limits, **lowered)
