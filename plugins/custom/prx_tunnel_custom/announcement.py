"""From a line of output to the public URL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prx_tunnel_core.urls import ANY_URL, bare
from prx_tunnel_custom.pattern import Expression, Pattern, Text

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*=")
_HOST_AND_PORT = re.compile(r"[^/]+:[0-9]{1,5}")
_NUMBER = re.compile(r"[0-9]{1,5}")

# Lines that no tunnel program prints: a pattern that finds a URL in them finds any URL.
_STRANGERS = ("zqxj.invalid", "zqxj.com", "192.0.2.7")
_SHAPES = ("http://{}", "https://{}", "https://{}/qz", "tcp://{}:41234", "{}:41234", "41234")
_AROUND = ("{}", "qzx {} xzq", "03:04:05 {}", "2026-01-02T03:04:05.678Z INF {}")
_LINES = [around.format(shape) for shape in _SHAPES for around in _AROUND]
_PROBES = [line.format(host) for line in _LINES for host in _STRANGERS]


@dataclass(frozen=True)
class Announcement:
    """How the program announces its URL."""

    pattern: Pattern
    scheme: str
    host: str | None
    """The host of a match that is a port number only."""

    def urls(self, line: str) -> Iterator[str]:
        """Every valid URL that the pattern takes, in the order of the line."""
        for candidate in self.pattern.candidates(line):
            url = self._read(candidate)
            if url is not None:
                yield url

    def takes_anything(self) -> bool:
        """Whether the pattern accepts any URL, such as the link to a manual."""
        return any(any(self.urls(line)) for line in _PROBES)

    def _read(self, text: str) -> str | None:
        for form in _forms(text):
            try:
                return ANY_URL.accept(self._completed(form))
            except ValueError:
                continue
        return None

    def _completed(self, text: str) -> str:
        if "://" in text:
            return text
        if self.host is not None and _NUMBER.fullmatch(text):
            return f"{self.scheme}://{self.host}:{text}"
        if _HOST_AND_PORT.fullmatch(text):
            return f"{self.scheme}://{text}"
        raise ValueError("neither a URL nor host:port")


def ready_in_anything(pattern: Text | Expression) -> bool:
    """Whether the pattern also occurs in unrelated lines."""
    return any(pattern.occurs(line) for line in _PROBES)


def _forms(text: str) -> Iterator[str]:
    """The readings of the text: without punctuation, unchanged, without a leading `url=`."""
    yield bare(text)
    yield text
    if key := _KEY.match(text):
        yield bare(text[key.end() :])
