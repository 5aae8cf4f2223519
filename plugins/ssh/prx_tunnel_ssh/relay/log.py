"""One line for each event: `event key=value …`, for people and for programs."""

from __future__ import annotations

import json
import logging

from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.text import one_line

logger = get_logger("prx_tunnel_ssh.relay")

_LONGEST_VALUE = 200


class Log:
    def __init__(self, level: int = logging.INFO) -> None:
        self._level = level

    def __call__(self, event: str, **fields: object) -> None:
        if logger.isEnabledFor(self._level):
            logger.log(self._level, "%s", line(event, **fields))


def line(event: str, **fields: object) -> str:
    """The event as one line; what strangers wrote can neither end it nor pose as another field."""
    shown = [f"{name}={_value(value)}" for name, value in fields.items() if value is not None]
    return " ".join([event, *shown])


def _value(value: object) -> str:
    text = one_line(str(value))[:_LONGEST_VALUE]
    plain = text and not any(c.isspace() or c in "\"'=\\" for c in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
