"""One line for each event: `event key=value …`, for people and for programs."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.text import one_line

logger = get_logger("prx_tunnel_ssh.relay")

_LONGEST_VALUE = 200
_MINUTE = 60.0


class Log:
    def __init__(self, level: int = logging.INFO) -> None:
        self._level = level
        self.limited = LimitedLog(self)
        """For events that anyone can cause."""
        self.seldom = LimitedLog(self, 1)
        """For one problem that would be logged again and again."""

    def __call__(self, event: str, **fields: object) -> None:
        if logger.isEnabledFor(self._level):
            logger.log(self._level, "%s", line(event, **fields))


class LimitedLog:
    """At most `most` lines of each event in a minute; the next one says how many were left out."""

    def __init__(
        self, log: Log, most: int = 100, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._most = most
        self._clock = clock
        self._lines: dict[str, tuple[float, int]] = {}
        """By event: when its minute began, and how often it has happened since."""

    def __call__(self, event: str, **fields: object) -> None:
        now = self._clock()
        began, count = self._lines.get(event, (now, 0))
        left_out = 0
        if now - began >= _MINUTE:
            began, count, left_out = now, 0, max(0, count - self._most)
        self._lines[event] = (began, count + 1)
        if count < self._most:
            self._log(event, **fields, left_out=left_out or None)


def line(event: str, **fields: object) -> str:
    """The event as one line; a value can neither end the line nor imitate another field."""
    shown = [f"{name}={_value(value)}" for name, value in fields.items() if value is not None]
    return " ".join([event, *shown])


def _value(value: object) -> str:
    text = one_line(str(value))[:_LONGEST_VALUE]
    plain = text and not any(c.isspace() or c in "\"'=\\" for c in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
