"""`url_pattern`: an expression for text that a stranger may have written."""

from __future__ import annotations

from typing import Protocol

import re2  # type: ignore[import-untyped]


class Match(Protocol):
    def group(self, number: int, /) -> str: ...
    def end(self, number: int, /) -> int: ...


class Pattern(Protocol):
    @property
    def groups(self) -> int: ...
    def search(self, text: str, /) -> Match | None: ...


def compile_pattern(text: str) -> Pattern:
    """The pattern, compiled by an engine that no line can stall.

    Raises ValueError when it is no expression, has not exactly one group, or matches everything.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        pattern: Pattern = re2.compile(text, options=options)
    except re2.error as error:
        reason = error.args[0] if error.args else "invalid"
        shown = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"not a regular expression of RE2: {shown}") from None
    if pattern.groups != 1:
        raise ValueError("put parentheses around the URL, and around nothing else: (https://…)")
    if pattern.search("") is not None:
        raise ValueError("it matches everything; name what stands around the URL or in it")
    return pattern
