"""Expands `${NAME}`, `${NAME:-default}`, `$$` and `~` in the values of a configuration file.

Values are expanded after parsing, so the content of a variable can never become a key, a table or
another reference.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.text import one_line

_REFERENCE = re.compile(r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^${}]*))?\}")


LONGEST_VALUE = 32 * 1024  # characters, after expansion; splitting a command is quadratic in them
LONGEST_KEY = 60  # characters of a key in a message


class Expanded(str):
    """A string that contains the value of an environment variable."""

    __slots__ = ()


class WholeVariable(Expanded):
    """A string that was exactly one `${…}`; its model converts it to the type of the field."""

    __slots__ = ()


def expand(value: object, environ: Mapping[str, str], *, path: str) -> object:
    """The value with the references in all its strings replaced; containers are copied.

    Raises ConfigError when a variable without a default is unset or empty, and when a reference is
    malformed. The message contains the path of the key and the name of the variable, never a value.

        >>> expand({"url": "https://${HOST:-example.com}/$$"}, {}, path="tunnel.hello")
        {'url': 'https://example.com/$'}
    """
    if isinstance(value, str):
        return _expand_text(value, environ, path)
    if isinstance(value, dict):
        return {
            key: expand(item, environ, path=f"{path}.{shown_key(key)}")
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [expand(item, environ, path=f"{path}[{i}]") for i, item in enumerate(value)]
    return value


def shown_key(key: str) -> str:
    """The key as part of a message: printable, and not longer than `LONGEST_KEY`."""
    key = one_line(key)
    return key if len(key) <= LONGEST_KEY else f"{key[:LONGEST_KEY]}…"


def _expand_text(text: str, environ: Mapping[str, str], path: str) -> str:
    _check_length(len(text), path)
    if "$" not in text:
        return text
    pieces: list[str] = []
    used = False
    position = length = 0
    for match in _REFERENCE.finditer(text):
        pieces.append(_literal(text[position : match.start()], path))
        position = match.end()
        if match["name"] is None:
            pieces.append("$")
        else:
            used = True
            pieces.append(_look_up(match["name"], match["default"], environ, path))
            length += len(pieces[-1])
            _check_length(length, path)
    pieces.append(_literal(text[position:], path))
    expanded = "".join(pieces)
    if not used:
        return expanded
    whole = _REFERENCE.fullmatch(text) is not None
    return WholeVariable(expanded) if whole else Expanded(expanded)


def _check_length(length: int, path: str) -> None:
    if length > LONGEST_VALUE:
        raise ConfigError(f"{path}: longer than {LONGEST_VALUE // 1024} KiB; shorten the value")


def _literal(text: str, path: str) -> str:
    if "${" in text:
        raise ConfigError(
            f"{path}: a reference to a variable is written ${{NAME}} or ${{NAME:-default}}; "
            "write $${ for a literal ${"
        )
    return text


def _look_up(name: str, default: str | None, environ: Mapping[str, str], path: str) -> str:
    value = environ.get(name, "")
    if not value:
        if default is None:
            state = "empty" if name in environ else "not set"
            raise ConfigError(
                f"{path}: the environment variable {name} is {state}; "
                f"set it, or give a default: ${{{name}:-…}}"
            )
        return default
    # Secret mounts leave one line end at the end; more than one is a mistake.
    value = value.removesuffix("\n").removesuffix("\r")
    if not value.isprintable():
        raise ConfigError(
            f"{path}: the environment variable {name} has control characters or invalid UTF-8"
        )
    return value


def expand_home(path: str, key: str = "") -> str:
    """The path with a leading `~` or `~user` replaced; other paths are returned unchanged.

    Raises ConfigError, beginning with `key`, where there is no such directory: a path that still
    begins with `~` would be relative to the working directory.
    """
    expanded = os.path.expanduser(path)
    if not path.startswith("~") or os.path.isabs(expanded):
        return expanded
    user = path[1:].partition("/")[0]
    reason = (
        f"there is no user {user!r} with a home directory; write the whole path"
        if user
        else "this user has no home directory; set HOME, or write the whole path"
    )
    raise ConfigError(f"{key}: {path}: {reason}" if key else f"{path}: {reason}")
