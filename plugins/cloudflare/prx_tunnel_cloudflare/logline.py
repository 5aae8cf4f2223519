"""One line of cloudflared's log, taken apart.

The forms are `2026-11-22T13:06:27Z ERR message error="…" key=value…`, the same as a JSON object
(`--output json`), and plain text for what ends the program. A JSON line may be damaged, since
concurrent writers interleave; it is then plain text like any other.

What a visitor or a name server chose stands in a field, never in the message: whoever looks for a
message must compare it from its beginning, and must not search the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_LONGEST = 16 * 1024  # characters; the longest line of interest is a pushed configuration
_LEVELS = {"DBG": "debug", "INF": "info", "WRN": "warn", "ERR": "error", "FTL": "fatal"}
_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DBG|INF|WRN|ERR|FTL) (.*)", re.DOTALL)
_FIELD = re.compile(r' ([A-Za-z_][A-Za-z0-9_-]*)=("(?:[^"\\]|\\.)*"|[^ ]*)', re.DOTALL)

_NO_FIELDS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LogLine:
    message: str
    level: str = ""
    """`debug`, `info`, `warn`, `error` or `fatal`; empty for plain text."""
    fields: Mapping[str, str] = field(default_factory=lambda: _NO_FIELDS)

    @property
    def error(self) -> str:
        return self.fields.get("error", "")


def parse(line: str) -> LogLine:
    """The line taken apart; never raises."""
    line = line[:_LONGEST]
    if text := _TEXT.fullmatch(line):
        return _from_text(_LEVELS[text[1]], text[2])
    if line.startswith("{"):
        return _from_json(line)
    return LogLine(line)


def _from_text(level: str, rest: str) -> LogLine:
    begin = _FIELD.search(rest)
    if begin is None:
        return LogLine(rest, level)
    message = rest[: begin.start()]
    fields = {match[1]: _unquote(match[2]) for match in _FIELD.finditer(rest, begin.start())}
    return LogLine(message, level, MappingProxyType(fields))


def _unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value[1:-1]  # Go knows escapes that JSON does not


def _from_json(line: str) -> LogLine:
    try:
        content = json.loads(line)
        message, level = content.pop("message"), content.pop("level")
    except (ValueError, KeyError, TypeError, RecursionError):
        return LogLine(line)
    fields = {str(key): str(value) for key, value in content.items()}
    return LogLine(str(message), str(level), MappingProxyType(fields))
