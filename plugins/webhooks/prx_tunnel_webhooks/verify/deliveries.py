"""The deliveries so far: providers repeat deliveries that they consider lost."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Literal

KEPT = 10_000

Known = Literal["new", "under way", "done"]


class Deliveries:
    """The ids of the last `kept` deliveries."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._turn = threading.Lock()  # synchronous frameworks handle requests in threads
        self._done: OrderedDict[str, bool] = OrderedDict()

    def begin(self, delivery: str) -> Known:
        """The state of a delivery; a new one becomes `under way`."""
        if not self._kept:
            return "new"
        with self._turn:
            if delivery in self._done:
                return "done" if self._done[delivery] else "under way"
            self._done[delivery] = False
            if len(self._done) > self._kept:
                self._done.popitem(last=False)
        return "new"

    def end(self, delivery: str, *, taken: bool) -> None:
        """Record a delivery as done; one that was not taken is new when the provider repeats it."""
        with self._turn:
            if not taken:
                self._done.pop(delivery, None)
            elif delivery in self._done:
                self._done[delivery] = True
