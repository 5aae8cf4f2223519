"""One line of cloudflared's log, taken apart.

The forms are `2026-11-22T13:06:27Z ERR message error="…" key=value…`, the same as a JSON object
(`--output json`), and plain text for what ends the program. A JSON line may be damaged, since
concurrent writers interleave; it is then plain text like any other.

Text from a visitor or a name server is in a field, never in the message: compare messages from
their beginning, and do not search the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_LONGEST = 16 * 1024  # characters; the longest line of interest is a pushed configuration
_LEVELS = {"DBG": "debug", "INF": "info", "WRN": "warn", "ERR": "error", "FTL": "fatal"}
_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DBG|INF|WRN|ERR|FTL) (.*)", re.DOTALL)
_FIELD_BEGIN = re.compile(r" [A-Za-z_][A-Za-z0-9_-]*=")
_FIELD = re.compile(r' ([A-Za-z_][A-Za-z0-9_-]*)=("(?:[^"\\]|\\.)*"|[^ ]*)', re.DOTALL)


class LogLine:
    """A message, its level (empty for plain text), and fields, which are read when asked for.

    A visitor can make the log flood, and of those lines only the message is ever looked at.
    """

    __slots__ = ("_fields", "_rest", "level", "message")

    def __init__(
        self,
        message: str,
        level: str = "",
        fields: Mapping[str, str] | None = None,
        *,
        rest: str = "",
    ) -> None:
        self.message = message
        self.level = level
        """`debug`, `info`, `warn`, `error` or `fatal`."""
        self._fields = fields
        self._rest = rest

    @property
    def fields(self) -> Mapping[str, str]:
        if self._fields is None:
            pairs = _FIELD.finditer(self._rest)
            self._fields = {pair[1]: _unquote(pair[2]) for pair in pairs}
        return self._fields

    @property
    def error(self) -> str:
        return self.fields.get("error", "")


def parse(line: str) -> LogLine:
    """The line taken apart; never raises."""
    line = line[:_LONGEST]
    if text := _TEXT.fullmatch(line):
        level, rest = _LEVELS[text[1]], text[2]
        begin = _FIELD_BEGIN.search(rest)
        message = rest if begin is None else rest[: begin.start()]
        return LogLine(message, level, rest=rest[len(message) :])
    if line.startswith("{"):
        return _from_json(line)
    return LogLine(line)


def _from_json(line: str) -> LogLine:
    try:
        content = json.loads(line)
        message, level = content.pop("message"), content.pop("level")
    except (ValueError, KeyError, TypeError, RecursionError):
        return LogLine(line)
    fields = {str(key): str(value) for key, value in content.items()}
    return LogLine(str(message), str(level), fields)


def _unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value[1:-1]  # Go knows escapes that JSON does not
