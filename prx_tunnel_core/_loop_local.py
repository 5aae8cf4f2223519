"""What is kept once for each event loop: a lock of one is of no use in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio.lowlevel import RunVar

T = TypeVar("T")


def loop_local(place: RunVar[T], make: Callable[[], T]) -> T:
    """What is kept there for the event loop that runs, made when it is first asked for."""
    try:
        return place.get()
    except LookupError:
        place.set(made := make())
        return made
