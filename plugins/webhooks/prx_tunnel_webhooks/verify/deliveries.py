"""What has been delivered already: providers send again what they think was lost."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Literal

KEPT = 10_000

Known = Literal["new", "under way", "done"]


class Deliveries:
    """The ids of the last deliveries; of `kept` more, the oldest is forgotten."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._turn = threading.Lock()  # synchronous frameworks handle requests in threads
        self._done: OrderedDict[str, bool] = OrderedDict()

    def begin(self, delivery: str) -> Known:
        """What is known of it; a new one is under way from now on."""
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
        """It was taken; or it was not, and is new when the provider tries again."""
        with self._turn:
            if not taken:
                self._done.pop(delivery, None)
            elif delivery in self._done:
                self._done[delivery] = True
