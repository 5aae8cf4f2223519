"""Which settings of two processes differ, without either telling the other a value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from prx_tunnel_core.config import TunnelConfig

# Enough to see that two values differ, too little to try out what a secret may be.
DIGEST = 2  # bytes


def marks(config: TunnelConfig, salt: bytes) -> dict[str, str]:
    """A mark for each key of `[tunnel]` and the backend's table, the same for the same value."""
    own = config.model_dump()  # without the tables of backends
    table = {config.backend: config.table(config.backend)}
    return {key: _mark(value, salt) for key, value in _leaves({**own, **table}, "tunnel")}


def differing(config: TunnelConfig, answer: Mapping[str, Any]) -> list[str]:
    """The keys whose values are others than those that a running tunnel has marked.

    Raises KeyError, TypeError or ValueError for the answer of another version of prx.
    """
    theirs = dict(answer["marks"])
    ours = marks(config, bytes.fromhex(answer["salt"]))
    return sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))


def _leaves(table: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.{name}")
        else:
            yield f"{path}.{name}", value


def _mark(value: object, salt: bytes) -> str:
    text = json.dumps(value, default=str)
    return hashlib.blake2b(text.encode(), key=salt, digest_size=DIGEST).hexdigest()
