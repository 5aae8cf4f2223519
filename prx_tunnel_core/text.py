"""What foreign text may do to us: control a terminal, and carry secrets out.

Everything that leaves (a log line, an error, a status, the tail of a program's output) goes
through here.
"""

from __future__ import annotations

import base64
import re
import urllib.parse
from collections.abc import Iterable

MASK = "**********"

# A shorter secret would mask half of every text, and is no secret.
SHORTEST_SECRET = 4

_ESCAPES = re.compile(
    r"""
      \x1b \] [^\x07\x1b\x9c]{0,4096} (?: \x07 | \x1b\\ | \x9c | \Z )  # OSC: titles, hyperlinks
    | \x1b [PX^_] [^\x1b\x9c]{0,4096} (?: \x1b\\ | \x9c | \Z )         # DCS, SOS, PM, APC
    | (?: \x1b\[ | \x9b ) [0-?]{0,64} [ -/]{0,16} [@-~]                # CSI: colours, cursor
    | \x1b [ -/]{0,16} [0-~]                                           # other escapes
    """,
    re.VERBOSE,
)
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text as a terminal would have left it: no escapes, no controls, the last of a `\\r` line.

    A progress bar redraws its line with carriage returns; what a person saw last is what counts.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPES.sub("", text).rstrip("\r\n")
    text = text.rsplit("\r", 1)[-1]
    return _CONTROLS.sub("", text)


class Redactor:
    """Masks secrets, also where they were quoted for a URL, JSON or basic authentication."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        spellings = {form for secret in secrets for form in _spellings(secret)}
        if spellings <= self._secrets:
            return
        self._secrets |= spellings
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._secrets)} spellings>"


def _spellings(secret: str) -> set[str]:
    secret = secret.strip()
    if len(secret) < SHORTEST_SECRET:
        return set()
    forms = {
        secret,
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        secret.encode("unicode_escape").decode("ascii"),
        secret.replace("\\", "\\\\").replace('"', '\\"'),
        base64.b64encode(secret.encode()).decode("ascii"),
        base64.urlsafe_b64encode(secret.encode()).decode("ascii"),
    }
    forms |= {line for line in secret.splitlines() if len(line.strip()) >= 16}
    return {form.rstrip("=") for form in forms if len(form.rstrip("=")) >= SHORTEST_SECRET}
