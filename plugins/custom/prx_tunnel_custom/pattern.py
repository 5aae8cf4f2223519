r"""`url_pattern` and `ready_pattern`: what to find in a line, which a visitor may have written.

A pattern with a group is a regular expression, matched by RE2 in linear time: no line can stall
it. Without a group it is plain text, in which `.` is a full stop.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Protocol

from prx_tunnel_core import programs
from prx_tunnel_core.programs import compile_pattern

# Each search takes time in proportion to the line; a line of 64 KiB could hold 30 000 matches.
CANDIDATES = 20

# A bracket in a URL belongs to an IPv6 address, which has a colon.
_IN_NO_URL = re.compile(r'[\\^|{}<>"`]|\.[*+]|\[[^\]:]*\]')


class Pattern(Protocol):
    def candidates(self, line: str) -> Iterator[str]:
        """The possible URLs, in the order of the line; bounded in number."""


class Text:
    """Plain text: the words of a line that contain it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def candidates(self, line: str) -> Iterator[str]:
        if self._text not in line:
            return iter(())
        words = (word for word in line.split() if self._text in word)
        return itertools.islice(words, CANDIDATES)

    def occurs(self, line: str) -> bool:
        return self._text in line


class Expression:
    """A regular expression: the matches of its first group."""

    def __init__(self, compiled: programs.Pattern) -> None:
        self._compiled = compiled

    def candidates(self, line: str) -> Iterator[str]:
        matches = itertools.islice(self._compiled.finditer(line), CANDIDATES)
        return (text for match in matches if (text := match.group(1)))

    def occurs(self, line: str) -> bool:
        return self._compiled.search(line) is not None


def read_pattern(text: str) -> Text | Expression:
    """The compiled pattern. Raises ValueError, with the fix, for a useless one."""
    if not text.strip():
        raise ValueError("it is empty, and would match everything; name what the program prints")
    return Expression(compile_pattern(text)) if "(" in text else Text(text)


def check_url_text(text: str) -> None:
    """Raises ValueError when plain text cannot be a part of a URL, so that it would never match."""
    if "(" in text:
        return
    if _IN_NO_URL.search(text):
        raise ValueError(
            "without a group it is plain text, which no URL contains; "
            r"for a regular expression put parentheses around the URL: (https://\S+\.example\.com)"
        )
    if any(character.isspace() for character in text):
        raise ValueError(
            "without a group it is looked for inside of the URL, which has no blanks; "
            rf"to take what follows it, write: {re.escape(text.rstrip())} (\S+)".replace("\\ ", " ")
        )
