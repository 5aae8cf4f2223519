"""Objects that exist once per event loop, such as locks, which cannot be shared between loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio.lowlevel import RunVar

T = TypeVar("T")


def loop_local(place: RunVar[T], make: Callable[[], T]) -> T:
    """Return the object of the running event loop; `make` creates it on first use."""
    try:
        return place.get()
    except LookupError:
        place.set(made := make())
        return made
