"""Mask the secrets in a configuration document, and in the commands that it contains.

A command's arguments are masked by what they look like: no list of options knows every one that
takes a secret (`-p`, `--key`, `-H "Authorization: …"`). An argument is shown only if it looks
harmless: the name of an option, a port, a program, module, path or host.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core.config import ConfigModel, GatewayConfig, TunnelConfig
from prx_tunnel_core.errors import TunnelError
from prx_tunnel_core.text import MASK, Redactor, sounds_secret

_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_HOLDS_COMMAND = re.compile("command|arg(s|uments)$")
# `user:password@host`; anchored to the start of a word, so that matching takes linear time.
_USER = re.compile(r"(?<![^\s/@])(?P<user>[^\s/:@]++:)[^\s@/]++(?=@)")

_OPTION = re.compile(r"--[A-Za-z][\w-]*|-[A-Za-z]{1,3}")
_ASSIGNED = re.compile(r"(?P<name>-{0,2}[A-Za-z_][\w.-]*)=(?P<value>.*)", re.DOTALL)
_ATTACHED = re.compile(r"-[A-Za-z]")
# Options whose value has a secret in it, beside something else: `user:password`, `Cookie: …`.
_CARRIES_SECRET = re.compile("user|header", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{\w+\}|\$\{[A-Za-z_]\w*\}")
_NUMBER = re.compile(r"\d{1,5}")
_SEPARATORS = re.compile(r"[./:@~-]+")
# A plain word; a token mixes cases and digits.
_NAME = re.compile(r"(?:[A-Z]?[a-z_]{1,20}|[A-Z_]{1,20})\d{0,2}|\d{1,5}|")


def masked_document(document: Mapping[str, Any], plugins: PluginRegistry) -> dict[str, Any]:
    """The document with every literal secret masked; `${NAME}` is kept, since it holds no value.

    In a table whose model is unknown, every value is masked except booleans.
    """
    return {name: _top_level(name, value, plugins) for name, value in document.items()}


def _top_level(name: str, value: Any, plugins: PluginRegistry) -> Any:
    if not isinstance(value, Mapping):
        return _hidden(value)
    if name == "gateway":
        return _masked(value, GatewayConfig)
    if name == "tunnel":
        shown = _masked(value, TunnelConfig)
        backends = [key for key in value if key not in TunnelConfig.model_fields]
        return shown | {key: _masked(value[key], _backend(key, plugins)) for key in backends}
    try:
        observers = plugins.observers({name: value})
    except TunnelError:
        observers = []
    return _masked(value, observers[0].config if observers else None)


def _backend(name: str, plugins: PluginRegistry) -> type[ConfigModel] | None:
    try:
        return plugins.backend(name).config
    except TunnelError:
        return None


def _masked(value: Any, model: type[ConfigModel] | None) -> Any:
    if model is None or not isinstance(value, Mapping):
        return _hidden(value)
    return {key: _field(item, model, key) for key, item in value.items()}


def _field(value: Any, model: type[ConfigModel], key: str) -> Any:
    field = model.model_fields.get(key)
    if field is None or not field.repr or "SecretStr" in str(field.annotation):
        return _hidden(value)
    if (inner := _model_in(field.annotation)) is not None:
        many = isinstance(value, list)
        return [_masked(each, inner) for each in value] if many else _masked(value, inner)
    if isinstance(value, Mapping):
        return _hidden(value)
    return masked_command(value) if _HOLDS_COMMAND.search(key) else _shown(value)


def _model_in(annotation: Any) -> type[ConfigModel] | None:
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, ConfigModel)), None)


def _shown(value: Any) -> Any:
    """A value that is not a secret, without the secrets that a URL may contain."""
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if not isinstance(value, str):
        return value
    text = _USER.sub(rf"\g<user>{MASK}", Redactor(())(value))
    address, _, fragment = text.partition("#")
    return f"{address}#{MASK}" if "://" in address and fragment else text


def _hidden(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _hidden(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item) for item in value]
    if isinstance(value, str):
        return value if not value or _REFERENCE.fullmatch(value) else MASK
    return value if isinstance(value, bool) else MASK


def masked_command(command: Any) -> Any:
    """A command, as a string or as a list, with every argument masked that may be a secret."""
    if isinstance(command, list):
        return list(_shown_arguments(command))
    if not isinstance(command, str):
        return MASK
    try:
        words = shlex.split(command)
    except ValueError:
        return MASK
    return " ".join(
        shlex.quote(word) if re.search(r"\s", word) else word for word in _shown_arguments(words)
    )


def _shown_arguments(words: Iterable[Any]) -> Iterator[Any]:
    option = ""
    for word in words:
        if not isinstance(word, str):
            yield MASK
            continue
        yield _argument(word, option)
        option = word if _OPTION.fullmatch(word) else ""


def _argument(word: str, option: str) -> str:
    """An argument; `option` is the argument before it, if that is an option."""
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
    if sounds_secret(option, in_doubt=True) or _CARRIES_SECRET.search(option):
        return MASK
    if "://" in value:
        return _address(value)
    short = option.startswith("-") and not option.startswith("--")
    if short and not (_NUMBER.fullmatch(value) or _SEPARATORS.search(value)):
        return MASK  # `-p hunter`
    parts = _SEPARATORS.split(_PLACEHOLDER.sub("0", value))
    return value if all(map(_NAME.fullmatch, parts)) else MASK


def _address(url: str) -> str:
    """A URL without its path, which may be a secret, as in webhooks."""
    try:
        scheme, host = urlsplit(url).scheme, urlsplit(url).netloc
    except ValueError:
        return MASK
    rest = url.partition("://")[2].removeprefix(host)
    _, at, host = host.rpartition("@")
    shown = f"{scheme}://{f'{MASK}@' if at else ''}{host}"
    return f"{shown}/{MASK}" if rest.strip("/") else f"{shown}{rest}"
