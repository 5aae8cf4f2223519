"""A process that has no descriptor left shall still hear that it is to stop."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Self


class Reserve:
    """One descriptor, kept to be lent to one connection at a time."""

    def __init__(self) -> None:
        self._descriptor = -1

    def __enter__(self) -> Self:
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        self._give()
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _give(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
