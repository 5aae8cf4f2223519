"""The secrets of a validated configuration: to mask them, and to warn of those in a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from prx_tunnel_core.config import ConfigModel
from prx_tunnel_core.expansion import Expanded
from prx_tunnel_core.text import sounds_secret

__all__ = ["literal_secrets", "secrets_of"]


def literal_secrets(settings: ConfigModel, table: Mapping[str, Any], *, path: str) -> list[str]:
    """The paths of keys whose secret is written in the file, instead of as `${NAME}`.

    `table` is the expanded table that `settings` was made from.
    """
    found: list[str] = []
    for name, inner in settings:
        value, field = table.get(name), type(settings).model_fields.get(name)
        if isinstance(inner, ConfigModel) and isinstance(value, Mapping):
            found += literal_secrets(inner, value, path=f"{path}.{name}")
        elif field is not None and "SecretStr" in str(field.annotation):
            # A table of variables for a program also holds values that are no secrets.
            found += [
                f"{path}.{name}.{key}"
                for key, item in (value.items() if isinstance(value, Mapping) else ())
                if sounds_secret(key) and isinstance(item, str) and not isinstance(item, Expanded)
            ]
            if isinstance(value, str) and not isinstance(value, Expanded):
                found.append(f"{path}.{name}")
    return found


def secrets_of(settings: BaseModel) -> list[str]:
    """Every secret in the settings, in plain text, for `text.Redactor`."""
    found: list[str] = []
    for _, value in settings:
        found += _secrets_in(value)
    return found


def _secrets_in(value: object) -> list[str]:
    match value:
        case SecretStr():
            return [value.get_secret_value()]
        case BaseModel():
            return secrets_of(value)
        case Mapping():
            return [secret for item in value.values() for secret in _secrets_in(item)]
        case list() | tuple() | set() | frozenset():
            return [secret for item in value for secret in _secrets_in(item)]
        case _:
            return []
