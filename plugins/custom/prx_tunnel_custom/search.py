"""The public URL in all that a program prints."""

from __future__ import annotations

from prx_tunnel_core.backend import Target
from prx_tunnel_core.urls import leads_here
from prx_tunnel_custom.config import CustomConfig
from prx_tunnel_custom.pattern import compile_pattern


class Search:
    """Looks at line after line, and remembers what it did not take."""

    def __init__(self, config: CustomConfig, target: Target) -> None:
        self._announcement = None if config.url_pattern is None else config.announcement()
        pattern = config.ready_pattern
        self._ready = None if pattern is None else compile_pattern(pattern)
        self._is_ready = self._ready is None
        self._url = config.public_url
        self._port = target.port
        self._refused = ""

    def find(self, line: str) -> str | None:
        """The URL as soon as it is known and the program has said it is ready, in any order."""
        if self._url is None:
            self._url = self._announced(line)
        self._is_ready = self._is_ready or (self._ready is not None and self._ready.occurs(line))
        return self._url if self._is_ready else None

    def why_not(self) -> str:
        """Why there is no URL although the pattern matched one; nothing when it matched none."""
        if self._url is not None or not self._refused:
            return ""
        return (
            f"url_pattern matched only {self._refused}, the local target itself, which many "
            "programs print too; let it match the public URL"
        )

    def _announced(self, line: str) -> str | None:
        if self._announcement is None:
            return None
        for url in self._announcement.urls(line):
            if not leads_here(url, self._port):
                return url
            self._refused = url
        return None
