"""What foreign text may do to us: control a terminal, and carry secrets out.

Everything that leaves (a log line, an error, a status, the tail of a program's output) goes
through here.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence

MASK = "**********"

# A shorter secret would mask half of every text, and is no secret.
SHORTEST_SECRET = 4
# In the middle of other base64, fewer characters than these are there by chance.
SHORTEST_BASE64 = 8

_LOWER_HEX = re.compile("%[0-9A-F]{2}")
_URL_SAFE = str.maketrans("+/", "-_")
# Signs left as they are in a URL: none, then what Python, JavaScript (two) and Go (two) leave.
_UNQUOTED = ("", "/", "!'()*", ";/?:@&=+$,#!'()*", "$&+=:@", "$&+,;=")
_IN_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_HTML = [  # with quotes as they are, as Python writes them, and as Go does
    str.maketrans(_IN_HTML | quotes)
    for quotes in ({}, {'"': "&quot;", "'": "&#x27;"}, {'"': "&#34;", "'": "&#39;"})
]
# Go writes no JSON that a browser could take for HTML.
_GO_JSON = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"})

# What a URL carries beside an address: a password before the host, a credential in the query.
_IN_URL = re.compile(
    r"""
      (?<=://) (?P<user> [^\s/?\#@:]*+ : ) [^\s/?\#@]++ (?=@)
    | (?P<key> [?&] (?: \w{1,20}[_-] )? (?: token | secret | password | passwd | apikey | key ) = )
      [^\s&\#"'<>]++
    """,
    re.VERBOSE | re.IGNORECASE,
)

_SECRET_NAME = re.compile(
    r"token|secret|passw|passphrase|credential|(?:api|auth|private)[_-]?key|(?:^|_|access)key$",
    re.IGNORECASE,
)
# `token_file` and `password-stdin` say where a secret is, `host_key` is public.
_ABOUT_A_SECRET = re.compile(
    r"(?:^|[_-])(?:file|path|dir|stdin|env|command|name|url|timeout|interval|(?:public|host)_?key)$",
    re.IGNORECASE,
)
_DOUBTFUL_NAME = re.compile(
    r"token|secret|pass|pw|auth|cred|key|cookie|bearer|dsn|session|(?<![a-z])(?:si[dg]|pin$)",
    re.IGNORECASE,
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
# What moves the cursor, hides or reorders text, is not shown at all (Unicode's default-ignorable
# characters, tags and variation selectors among them), or cannot be written: half of a surrogate
# pair. Written out, for Python's own tables differ between its versions.
_CONTROLS = re.compile(
    "["
    r"\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5"
    r"\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff0-\ufffb\ufffe\uffff\ud800-\udfff"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "]"
)
# Joining the words on both sides would make a word that nobody wrote.
_GAPS = re.compile(r"[\n\x0b\x0c\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")

INDENT = "    "  # of the lines of a log record after its first


def printable(text: str) -> str:
    """One line of a program's output as a terminal would have left it: no escapes, no controls.

    A progress bar redraws its line with carriage returns; what a person saw last is what counts.
    Use `one_line` for any other foreign text.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPES.sub("", text).rstrip("\r\n")
    text = text.rsplit("\r", 1)[-1]
    return _CONTROLS.sub("", _GAPS.sub(" ", text))


def one_line(text: str) -> str:
    """Foreign text that becomes part of a line: it cannot end that line, nor overwrite it."""
    if text.isascii() and text.isprintable():
        return text
    return printable(text.replace("\r", " "))


def printable_lines(text: str, *, indent: str = "") -> str:
    """Text that may have several lines, each of them printable.

    With `indent`, every line after the first begins with it, so that none can pass for a record
    of a log. Applying it twice changes nothing.
    """
    first, *others = map(one_line, text.split("\n"))
    if not all(each.startswith(indent) for each in others):
        others = [indent + each for each in others]
    return "\n".join([first, *others])


def sounds_secret(name: str, *, in_doubt: bool = False) -> bool:
    """Whether a key, variable or option of that name probably holds a secret.

    With `in_doubt`, also names that often do (`AUTH`, `cookie`, `key`): use it to mask a value,
    which costs little when wrong, and not to warn or to refuse.

        >>> sounds_secret("NGROK_AUTHTOKEN"), sounds_secret("--token-file")
        (True, False)
        >>> sounds_secret("AUTH"), sounds_secret("AUTH", in_doubt=True)
        (False, True)
    """
    if in_doubt:
        return _DOUBTFUL_NAME.search(name) is not None
    return _SECRET_NAME.search(name) is not None and _ABOUT_A_SECRET.search(name) is None


class Redactor:
    """Masks secrets, also where they were quoted for a URL, JSON or basic authentication.

    What a URL carries as a password or token is masked as well, whether it is known or not: a
    program may tell of a proxy that it found in its environment.

    A secret of fewer than `SHORTEST_SECRET` characters is not masked: settings refuse it.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: dict[str, int] = {}
        """Each spelling with its period: see `_period`."""
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        spellings = {form for secret in secrets for form in _spellings(secret)}
        self._secrets |= {each: _period(each) for each in spellings - self._secrets.keys()}

    def __call__(self, text: str) -> str:
        if "://" in text:
            text = _IN_URL.sub(lambda match: f"{match['user'] or match['key']}{MASK}", text)
        spans = [
            span
            for secret, period in self._secrets.items()
            for span in _occurrences(secret, period, text)
        ]
        return _masked(text, sorted(spans)) if spans else text

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


def _occurrences(secret: str, period: int, text: str) -> Iterator[tuple[int, int]]:
    """The parts of the text that are the secret, those that overlap as one.

    Linear, as `str.find` is: repetitions of the secret's own period are skipped, in large steps
    first, and every further find begins at least half a secret later.
    """
    overlaps = period < len(secret)
    steps = (len(secret) // period * period, period) if overlaps else ()
    at = text.find(secret)
    while at >= 0:
        end = at + len(secret)
        for step in steps:
            repeated = secret[-step:]
            while text.startswith(repeated, end):
                end += step
        yield at, end
        at = text.find(secret, end - len(secret) + 1)


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text with one mask for each span, or for several that overlap."""
    merged: list[tuple[int, int]] = []
    for begin, end in spans:
        if merged and begin < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    pieces: list[str] = []
    shown = 0
    for begin, end in merged:
        pieces += text[shown:begin], MASK
        shown = end
    return "".join([*pieces, text[shown:]])


def _borders(items: Sequence[object]) -> list[int]:
    """For each beginning of the sequence, the length of the longest other one that it ends with."""
    borders = [0]
    length = 0
    for item in items[1:]:
        while length and items[length] != item:
            length = borders[length - 1]
        length += items[length] == item
        borders.append(length)
    return borders


def _period(text: str) -> int:
    """The least distance at which the text overlaps with itself; its length where it does not."""
    return len(text) - _borders(text)[-1]


def _begin_of(secret: str, text: str) -> int:
    """Where the longest beginning of the secret stands that the text ends with, else its length."""
    at = text.find(secret[:SHORTEST_SECRET], max(0, len(text) - len(secret)))
    if at < 0:
        return len(text)
    length = _borders([*secret, None, *text[at:]])[-1]
    return len(text) - length if length >= SHORTEST_SECRET else len(text)


def _spellings(secret: str) -> set[str]:
    secret = secret.strip()
    if len(secret) < SHORTEST_SECRET:
        return set()
    quoted = {urllib.parse.quote(secret, safe=safe, errors="surrogatepass") for safe in _UNQUOTED}
    quoted.add(urllib.parse.quote_plus(secret, errors="surrogatepass"))
    quoted |= {_LOWER_HEX.sub(lambda match: match[0].lower(), each) for each in quoted}
    plain_json = json.dumps(secret, ensure_ascii=False)[1:-1]
    forms = {
        secret,
        printable(secret),  # as what has come through here looks
        one_line(secret),
        printable_lines(secret, indent=INDENT),
        *quoted,
        secret.encode("unicode_escape").decode("ascii"),
        json.dumps(secret)[1:-1],
        plain_json,
        plain_json.translate(_GO_JSON),
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        *(secret.translate(table) for table in _HTML),
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
