"""Responses to requests that are not passed on to the application."""

from __future__ import annotations

RETRY_AFTER = 5  # seconds


class Answer(Exception):
    """The request ends here, with this status."""

    def __init__(self, status: int, *, retry_after: int | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}


def unavailable() -> Answer:
    """Too many bodies are being read."""
    return Answer(503, retry_after=RETRY_AFTER)
