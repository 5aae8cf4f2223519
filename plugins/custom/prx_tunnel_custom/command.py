"""`command`: words for the operating system, without a shell."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable, Sequence

from prx_tunnel_core.backend import Target
from prx_tunnel_core.expansion import Expanded
from prx_tunnel_core.text import sounds_secret
from prx_tunnel_core.urls import is_loopback

# As words, these mean something to a shell and nothing to a program.
_SHELL_WORDS = frozenset({"|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1", ">&2", "&>"})
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_PORT = re.compile(r"(?<![\w.-])[0-9]{4,5}(?![\w.-])")
_OPTION = re.compile(r"--?[A-Za-z][A-Za-z_-]*")


def words(command: object) -> tuple[str, ...]:
    """The command as a list of words: a string is split by the rules of a POSIX shell.

    Raises ValueError, with the fix, for other values and for commands that need a shell.
    """
    if isinstance(command, str):
        _refuse_variable(command)
        split = _split(command)
    elif isinstance(command, list | tuple) and all(isinstance(word, str) for word in command):
        for word in command:
            _refuse_variable(word)
        split = tuple(map(str, command))
    else:
        raise ValueError('write a string ("bore local {port}") or a list (["bore", "local"])')
    if not split or not split[0]:
        raise ValueError("it is empty; name the program, or remove the key")
    if "/" in split[0] and not split[0].startswith(("/", "~")):
        # A detached tunnel runs in another directory than the terminal that started it.
        raise ValueError(f"{split[0]!r} depends on the working directory; write the whole path")
    if any("\x00" in word for word in split):
        raise ValueError("a word has a NUL character")
    return split


def fill(command: Sequence[str], target: Target) -> list[str]:
    """The words with `{port}` and `{host}` replaced; every other brace is left as it is."""
    return [
        word.replace("{port}", str(target.port)).replace("{host}", target.host) for word in command
    ]


def other_port(command: Sequence[str], port: int) -> str | None:
    """A port that the command names although it names neither `{port}` nor the tunnel's own."""
    if any("{port}" in word or str(port) in word for word in command):
        return None
    hidden = set(secret_values(command))
    shown = (word for word in command if not any(value and value in word for value in hidden))
    return next((match[0] for word in shown for match in _PORT.finditer(word)), None)


def names_loopback(command: Iterable[str]) -> bool:
    """Whether a word names this machine as the server: `127.0.0.1`, `user@localhost`, `--to=::1`.

    With a port behind it or in front, it is rather the target that the tunnel leads to, as in
    `-R 0:localhost:3000`.
    """
    return any(is_loopback(re.split("[@=]", word)[-1]) for word in command)


def secret_options(command: Iterable[str]) -> list[str]:
    """The options that seem to have a secret value, without the values."""
    return [word.partition("=")[0] for word in command if _is_secret_option(word)]


def secret_values(command: Sequence[str]) -> list[str]:
    """The values of such options, after `=` or as the next word, to be masked in the output."""
    values = []
    for word, following in itertools.zip_longest(command, command[1:], fillvalue=""):
        if _is_secret_option(word):
            _, equals, value = word.partition("=")
            values.append(value if equals else following)
    return values


def _is_secret_option(word: str) -> bool:
    option = word.partition("=")[0]
    return _OPTION.fullmatch(option) is not None and sounds_secret(option)


def _refuse_variable(text: str) -> None:
    if isinstance(text, Expanded):
        raise ValueError(  # noqa: TRY004 - the value is wrong, not its type
            "a variable in it would show its value to every user of this machine; "
            "put it into [tunnel.custom.env], where the program finds it in its environment"
        )


def _split(command: str) -> tuple[str, ...]:
    try:
        split = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"{str(error).lower()}; close it, or write a list of words") from None
    for word in split:
        if word in _SHELL_WORDS:
            raise ValueError(
                f"{word!r} needs a shell, and the command runs without one; "
                'to use one, write: ["sh", "-c", "…"]'
            )
    if split and _ASSIGNMENT.match(split[0]):
        raise ValueError("put variables for the program into [tunnel.custom.env]")
    return tuple(split)
