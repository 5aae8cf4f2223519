"""What foreign text may do to us: control a terminal, and carry secrets out.

Everything that leaves (a log line, an error, a status, the tail of a program's output) goes
through here.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterable

MASK = "**********"

# A shorter secret would mask half of every text, and is no secret.
SHORTEST_SECRET = 4
# In the middle of other base64, fewer characters than these are there by chance.
SHORTEST_BASE64 = 8

_LOWER_HEX = re.compile("%[0-9A-F]{2}")
_URL_SAFE = str.maketrans("+/", "-_")

# What a URL carries beside an address: a password before the host, a credential in the query.
_IN_URL = re.compile(
    r"""
      (?<=://) (?P<user> [^\s/?\#@:]*+ : ) [^\s/?\#@]++ (?=@)
    | (?P<key> [?&] (?: \w{1,20}[_-] )? (?: token | secret | password | passwd | apikey | key ) = )
      [^\s&\#"'<>]++
    """,
    re.VERBOSE | re.IGNORECASE,
)

# Each escape in its 7-bit and its 8-bit form, also when a cut line ends inside it. The possessive
# quantifiers (`*+`) keep this linear: a hostile line is looked at once.
_ESCAPES = re.compile(
    r"""
      (?: \x1b\] | \x9d ) [^\x07\x1b\x80-\x9f]*+ (?: \x07 | \x1b\\ | \x9c )?      # OSC: hyperlinks
    | (?: \x1b[PX^_] | [\x90\x98\x9e\x9f] ) [^\x1b\x80-\x9f]*+ (?: \x1b\\ | \x9c )?   # DCS, APC…
    | (?: \x1b\[ | \x9b ) [0-?]*+ [ -/]*+ (?: [@-~] | \Z )                        # CSI: colours
    | \x1b [ -/]*+ (?: [0-~] | \Z )                                               # other escapes
    """,
    re.VERBOSE,
)
# What moves the cursor, hides or reorders text, or (half of a surrogate pair) cannot be written.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u061c\u200b\u200e\u200f\u2060\ufeff"
    r"\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Joining the words on both sides would make a word that nobody wrote.
_LINE_ENDS = re.compile(r"[\n\x0b\x0c\x85\u2028\u2029]")


def printable(text: str) -> str:
    """One line as a terminal would have left it: without escapes and controls.

    A progress bar redraws its line with carriage returns; what a person saw last is what counts.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPES.sub("", text).rstrip("\r\n")
    text = text.rsplit("\r", 1)[-1]
    return _CONTROLS.sub("", _LINE_ENDS.sub(" ", text))


class Redactor:
    """Masks secrets, also where they were quoted for a URL, JSON or basic authentication.

    What a URL carries as a password or token is masked as well, whether it is known or not: a
    program may tell of a proxy that it found in its environment.

    A secret of fewer than `SHORTEST_SECRET` characters is not masked: settings refuse it.
    """

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
        if "://" in text:
            text = _IN_URL.sub(lambda match: f"{match['user'] or match['key']}{MASK}", text)
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def cut_off(self, text: str) -> str:
        """For a text that its writer did not finish: a secret's beginning is masked at its end.

        A beginning of fewer than `SHORTEST_SECRET` characters stays, as such a secret would.
        """
        text = self(text)
        whole = text.rstrip("\ufffd")  # half of a character, as it was decoded
        begins = min((_begin_of(secret, whole) for secret in self._secrets), default=len(whole))
        return text if begins == len(whole) else f"{whole[:begins]}{MASK}"

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._secrets)} spellings>"


def _begin_of(secret: str, text: str) -> int:
    """Where the longest beginning of the secret stands that the text ends with, else its length."""
    at = text.find(secret[:SHORTEST_SECRET], max(0, len(text) - len(secret)))
    while at >= 0 and not secret.startswith(text[at:]):
        at = text.find(secret[:SHORTEST_SECRET], at + 1)
    return at if at >= 0 else len(text)


def _spellings(secret: str) -> set[str]:
    secret = secret.strip()
    if len(secret) < SHORTEST_SECRET:
        return set()
    quoted = urllib.parse.quote(secret, safe="", errors="surrogatepass")
    forms = {
        secret,
        quoted,
        _LOWER_HEX.sub(lambda match: match[0].lower(), quoted),
        urllib.parse.quote_plus(secret, errors="surrogatepass"),
        secret.encode("unicode_escape").decode("ascii"),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        *_base64_forms(secret.encode(errors="surrogatepass")),
    }
    forms |= {line.strip() for line in secret.splitlines() if len(line.strip()) >= 16}
    return {form for form in forms if len(form) >= SHORTEST_SECRET}


def _base64_forms(secret: bytes) -> set[str]:
    """What the secret looks like in base64, alone and in the middle of something longer.

    Basic authentication encodes `user:secret`, so the secret begins at any third of a group.
    """
    forms = set()
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + secret)
        # The first characters mix with what stands before, the last with what comes after.
        own = encoded[(0, 2, 3)[shift] : (shift + len(secret)) * 8 // 6].decode("ascii")
        if shift == 0 or len(own) >= SHORTEST_BASE64:
            forms |= {own, own.translate(_URL_SAFE)}
    return forms
