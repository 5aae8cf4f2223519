"""Which releases of tailscale this backend can drive."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Self

_NUMBERS = re.compile(r"\s*v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?![\d.])")


@dataclass(frozen=True, slots=True, order=True)
class Version:
    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def find(cls, text: str) -> Self | None:
        """The number at the beginning of `1.96.0-t1234`; None when there is none."""
        match = _NUMBERS.match(text)
        return match and cls(int(match[1]), int(match[2]), int(match[3] or 0))


OLDEST = Version(1, 52)
"""Brought foreground sessions and today's flags: `--https`, `--set-path`, `--bg`."""


def parse_version(text: str) -> Version | None:
    """The version of a `tailscale version --json`; None when the answer has none."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    number = answer.get("majorMinorPatch") if isinstance(answer, dict) else None
    return Version.find(number) if isinstance(number, str) else None
