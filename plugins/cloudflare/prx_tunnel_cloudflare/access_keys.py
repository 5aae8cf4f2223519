"""The public keys of an Access team: cached, renewed, and fetched at a bounded rate."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable

import anyio
import httpx
import jwt

LIFESPAN = 3600.0
"""Seconds until the keys are asked for again. Access makes a new one every six weeks and lets the
old one live on for seven days."""
PAUSE = 10.0
"""Seconds between two requests, whatever tokens arrive: anyone can invent a key's name."""

KEPT = 7 * 86_400.0
"""Seconds that keys are used while no new ones can be fetched; Access keeps an old one as long."""

_TIMEOUT = 5.0  # seconds for each step of a request
_LARGEST = 256 * 1024  # bytes


class KeysUnavailable(Exception):
    """The keys cannot be fetched, so no token can be verified."""


class KeyStore:
    """The keys behind one URL; may be used from several threads."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._problem = ""
        self._fetching = threading.Lock()
        self.turn = anyio.Lock()
        """For callers on an event loop, so that they do not fill its threads with waiting."""

    def known(self, key_id: str) -> jwt.PyJWK | None:
        """The key, when it is cached and not due for renewal; never waits."""
        return self._keys.get(key_id) if self._age() < LIFESPAN else None

    def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key, after a look for new ones when that is due; None when the team has no such key.

        Cached keys stay valid while no server answers. Raises KeysUnavailable when there are none.
        """
        with self._fetching:
            if self.known(key_id) is None and self._may_ask():
                self._fetch()
            if self._age() >= KEPT:
                raise KeysUnavailable(self._problem)
            return self._keys.get(key_id)

    def _age(self) -> float:
        return math.inf if self._fetched_at is None else self._clock() - self._fetched_at

    def _may_ask(self) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= PAUSE

    def _fetch(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = _read(_get(self._url))
            self._fetched_at = self._tried_at
        except (httpx.HTTPError, jwt.PyJWTError, ValueError) as error:
            self._problem = f"no keys from {self._url}: {type(error).__name__}: {error}"


def _get(url: str) -> bytes:
    deadline = time.monotonic() + 2 * _TIMEOUT
    content = bytearray()
    with httpx.stream("GET", url, timeout=_TIMEOUT, follow_redirects=False) as response:
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"answered {response.status_code}")
        for chunk in response.iter_bytes():
            content += chunk
            # The timeout is for each step; a server that drips would never run into it.
            if len(content) > _LARGEST or time.monotonic() > deadline:
                raise ValueError("the answer is too long or too slow")
    return bytes(content)


def _read(content: bytes) -> dict[str, jwt.PyJWK]:
    answer = json.loads(content)
    if not isinstance(answer, dict):
        raise ValueError("the answer is no key set")  # noqa: TRY004 - about bytes, not about a caller
    keys = jwt.PyJWKSet.from_dict(answer).keys
    return {key.key_id: key for key in keys if key.key_id}
