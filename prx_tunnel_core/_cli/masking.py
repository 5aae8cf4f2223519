"""A configuration document without its secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prx_tunnel_core._cli.masked_command import masked_command
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core.config import ConfigModel, GatewayConfig, TunnelConfig
from prx_tunnel_core.errors import TunnelError
from prx_tunnel_core.text import MASK, Redactor

_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_HOLDS_COMMAND = re.compile("command|arg(s|uments)$")
# `user:password@host`; it begins where a word does, so that each character is looked at once.
_USER = re.compile(r"(?<![^\s/@])(?P<user>[^\s/:@]++:)[^\s@/]++(?=@)")


def masked_document(document: Mapping[str, Any], plugins: PluginRegistry) -> dict[str, Any]:
    """The document with every literal secret masked; `${NAME}` stays, for it holds no value.

    Of a table whose model is not known, all values are masked but for switches.
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
    """A value that is no secret, without the ones that a URL may carry."""
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
