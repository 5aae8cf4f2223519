"""The headers of a request, in each form that frameworks use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias


class Rejected(Exception):
    """Not a webhook of the provider; the message is for the log, not for the sender."""


class _HasItems(Protocol):
    """Werkzeug's and Django's headers."""

    def items(self) -> Iterable[tuple[str, str]]: ...


Headers: TypeAlias = Mapping[str, str] | _HasItems | Iterable[tuple[bytes, bytes]]
"""A mapping or multi-mapping of text, or ASGI's list of pairs of bytes."""


def one(headers: Headers, name: str) -> str:
    """The value of a header that must be there exactly once.

    Of two, this code might look at the one and the application at the other.
    """
    found = values(headers, name)
    if not found:
        raise Rejected(f"the header {name} is missing")
    if len(found) > 1:
        raise Rejected(f"the header {name} is there {len(found)} times")
    if not found[0].isascii():
        raise Rejected(f"the header {name} is not ASCII")
    return found[0].strip()


def values(headers: Headers, name: str) -> list[str]:
    """Each value of a header."""
    return [value for key, value in _pairs(headers) if key == name]


def _pairs(headers: Headers) -> Iterable[tuple[str, str]]:
    items = headers.items() if hasattr(headers, "items") else headers
    for name, value in items:
        # `_` for `-`: a WSGI application could not tell the two apart.
        yield _text(name).lower().replace("_", "-"), _text(value)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
