"""A command without the secrets that may be among its arguments.

No list of options knows them all (`-p`, `--key`, `-H "Authorization: …"`), so an argument is shown
only when it looks like no secret: the name of an option, a port, a program, module, path or host.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from prx_tunnel_core.text import MASK

_OPTION = re.compile(r"--[A-Za-z][\w-]*|-[A-Za-z]{1,3}")
_ASSIGNED = re.compile(r"(?P<name>-{0,2}[A-Za-z_][\w.-]*)=(?P<value>.*)", re.DOTALL)
_ATTACHED = re.compile(r"-[A-Za-z]")
_SENSITIVE = re.compile(
    r"token|secret|pass|pwd|pw$|auth|cred|key|cookie|user|header|bearer|dsn|session|\bsi[dg]|\bpin$",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"\{\w+\}|\$\{[A-Za-z_]\w*\}")
_NUMBER = re.compile(r"\d{1,5}")
_SEPARATORS = re.compile(r"[./:@~-]+")
# Not the mixture of cases and digits that a token is.
_NAME = re.compile(r"(?:[A-Z]?[a-z_]{1,20}|[A-Z_]{1,20})\d{0,2}|\d{1,5}|")


def masked_command(command: Any) -> Any:
    """A command, as one text or as a list; every argument that may be a secret is masked."""
    if isinstance(command, list):
        return list(_shown(command))
    if not isinstance(command, str):
        return MASK
    try:
        words = shlex.split(command)
    except ValueError:
        return MASK
    return " ".join(shlex.quote(word) if re.search(r"\s", word) else word for word in _shown(words))


def _shown(words: Iterable[Any]) -> Iterator[Any]:
    option = ""
    for word in words:
        if not isinstance(word, str):
            yield MASK
            continue
        yield _argument(word, option)
        option = word if _OPTION.fullmatch(word) else ""


def _argument(word: str, option: str) -> str:
    """One argument, `option` being the one before it when that is an option."""
    if word == "--" or _OPTION.fullmatch(word):
        return word
    if assigned := _ASSIGNED.fullmatch(word):
        return f"{assigned['name']}={_value(assigned['value'], assigned['name'])}"
    if _ATTACHED.match(word):
        return f"{word[:2]}{MASK}"
    return _value(word, option)


def _value(value: str, option: str) -> str:
    if not value or _PLACEHOLDER.fullmatch(value):
        return value
    if _SENSITIVE.search(option):
        return MASK
    if "://" in value:
        return _address(value)
    short = option.startswith("-") and not option.startswith("--")
    if short and not (_NUMBER.fullmatch(value) or _SEPARATORS.search(value)):
        return MASK  # `-p hunter`
    parts = _SEPARATORS.split(_PLACEHOLDER.sub("0", value))
    return value if all(map(_NAME.fullmatch, parts)) else MASK


def _address(url: str) -> str:
    """A URL's path may be a secret, as that of a webhook is."""
    try:
        scheme, host = urlsplit(url).scheme, urlsplit(url).netloc
    except ValueError:
        return MASK
    rest = url.partition("://")[2].removeprefix(host)
    _, at, host = host.rpartition("@")
    shown = f"{scheme}://{f'{MASK}@' if at else ''}{host}"
    return f"{shown}/{MASK}" if rest.strip("/") else f"{shown}{rest}"
