"""Makes foreign text harmless: without control of the terminal, and without secrets.

Every log line, error, status and piece of a program's output passes through here before it leaves
the process.

    redact = Redactor([config.token.get_secret_value()])
    logger.info("%s", one_line(redact(line)))
"""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence

MASK = "**********"

# A shorter secret would mask half of every text, and would not be a secret.
SHORTEST_SECRET = 4
# Fewer characters than these occur in other base64 by chance.
SHORTEST_BASE64 = 8

_LOWER_HEX = re.compile("%[0-9A-F]{2}")
_URL_SAFE = str.maketrans("+/", "-_")
# Signs that are not quoted in a URL: none, then those of Python, JavaScript (two) and Go (two).
_UNQUOTED = ("", "/", "!'()*", ";/?:@&=+$,#!'()*", "$&+=:@", "$&+,;=")
_IN_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_HTML = [  # with quotes unchanged, as Python escapes them, and as Go does
    str.maketrans(_IN_HTML | quotes)
    for quotes in ({}, {'"': "&quot;", "'": "&#x27;"}, {'"': "&#34;", "'": "&#39;"})
]
# Go escapes in JSON what a browser could read as HTML.
_GO_JSON = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"})

# Secrets in a URL: a password before the host, a credential in the query.
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

# Each escape sequence in its 7-bit and its 8-bit form, also when a cut line ends inside it. The
# possessive quantifiers (`*+`) keep the search linear for hostile lines.
_ESCAPES = re.compile(
    r"""
      (?: \x1b\] | \x9d ) [^\x07\x1b\x80-\x9f]*+ (?: \x07 | \x1b\\ | \x9c )?      # OSC: hyperlinks
    | (?: \x1b[PX^_] | [\x90\x98\x9e\x9f] ) [^\x1b\x80-\x9f]*+ (?: \x1b\\ | \x9c )?   # DCS, APC…
    | (?: \x1b\[ | \x9b ) [0-?]*+ [ -/]*+ (?: [@-~] | \Z )                        # CSI: colours
    | \x1b [ -/]*+ (?: [0-~] | \Z )                                               # other escapes
    """,
    re.VERBOSE,
)
# Characters that move the cursor, hide or reorder text, are invisible (Unicode's default-ignorable
# characters, with tags and variation selectors), or cannot be encoded (half of a surrogate pair).
# Written out, because Python's tables differ between its versions.
_CONTROLS = re.compile(
    "["
    r"\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5"
    r"\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff0-\ufffb\ufffe\uffff\ud800-\udfff"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "]"
)
# Replaced by a space: removing them would join the words on both sides.
_GAPS = re.compile(r"[\n\x0b\x0c\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")

INDENT = "    "  # of the lines of a log record after its first


def printable(text: str) -> str:
    r"""One line of a program's output as a terminal would finally show it.

    Escape sequences and control characters are removed. Of a line that was redrawn with carriage
    returns, as by a progress bar, the last state remains. Use `one_line` for other foreign text.

        >>> printable("10 %\r100 % \x1b[32mdone\x1b[0m")
        '100 % done'
    """
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPES.sub("", text).rstrip("\r\n")
    text = text.rsplit("\r", 1)[-1]
    return _CONTROLS.sub("", _GAPS.sub(" ", text))


def one_line(text: str) -> str:
    r"""Foreign text as part of a line, which it can neither end nor overwrite.

    >>> one_line("a\nforged record\x1b[2K")
    'a forged record'
    """
    if text.isascii() and text.isprintable():
        return text
    return printable(text.replace("\r", " "))


def printable_lines(text: str, *, indent: str = "") -> str:
    """Text of several lines, each made printable.

    With `indent`, every line after the first begins with it, so that none can pass for a log record
    of its own. Applying the function twice changes nothing.
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
    """Masks secrets, also where they are quoted for a URL, JSON, HTML or basic authentication.

    Passwords and tokens in URLs are masked even when they are unknown, because a program may print
    the address of a proxy that it found in its environment. Secrets of fewer than `SHORTEST_SECRET`
    characters are not masked; models refuse them.

        >>> Redactor(["hunter22"])("token=hunter22&x=1")
        'token=**********&x=1'
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: dict[str, int] = {}
        """Each spelling with its period: see `_period`."""
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Mask these secrets too."""
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
        """Redact a text that was cut off: the beginning of a secret at its end is masked too.

        A beginning of fewer than `SHORTEST_SECRET` characters remains.
        """
        text = self(text)
        whole = text.rstrip("\ufffd")  # half of a character, as it was decoded
        begins = min((_begin_of(secret, whole) for secret in self._secrets), default=len(whole))
        return text if begins == len(whole) else f"{whole[:begins]}{MASK}"

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._secrets)} spellings>"


def _occurrences(secret: str, period: int, text: str) -> Iterator[tuple[int, int]]:
    """Where the secret occurs in the text; overlapping occurrences are one.

    Linear like `str.find`: repetitions of the secret's own period are skipped, in large steps
    first, and each further search begins at least half a secret later.
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
    """The text with one mask for each group of overlapping spans."""
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
    """For each prefix of the sequence, the length of the longest proper prefix that ends it."""
    borders = [0]
    length = 0
    for item in items[1:]:
        while length and items[length] != item:
            length = borders[length - 1]
        length += items[length] == item
        borders.append(length)
    return borders


def _period(text: str) -> int:
    """The smallest shift at which the text overlaps with itself, or its length."""
    return len(text) - _borders(text)[-1]


def _begin_of(secret: str, text: str) -> int:
    """Where the text's longest end begins that is a prefix of the secret; else its length."""
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
        printable(secret),  # as it looks after this module
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
    """The secret in base64, alone and in the middle of something longer.

    Basic authentication encodes `user:secret`, so the secret begins at any third of a group.
    """
    forms = set()
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + secret)
        # The first and last characters also depend on the neighbouring bytes.
        own = encoded[(0, 2, 3)[shift] : (shift + len(secret)) * 8 // 6].decode("ascii")
        if shift == 0 or len(own) >= SHORTEST_BASE64:
            forms |= {own, own.translate(_URL_SAFE)}
    return forms
