"""`[webhooks]`: one table for each webhook; its `kind` is the provider."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, model_validator

from prx_tunnel_core.config import ConfigModel, validate
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.text import one_line
from prx_tunnel_webhooks.github import GitHubHook, GitHubOrganisationHook
from prx_tunnel_webhooks.hook import Hook
from prx_tunnel_webhooks.slack import SlackHook
from prx_tunnel_webhooks.telegram import TelegramHook
from prx_tunnel_webhooks.template import HttpHook

KINDS: Mapping[str, type[Hook]] = {
    "telegram": TelegramHook,
    "github": GitHubHook,
    "github-organisation": GitHubOrganisationHook,
    "slack": SlackHook,
    "http": HttpHook,
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


class WebhooksConfig(ConfigModel):
    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _by_kind(cls, tables: Mapping[str, object]) -> dict[str, Hook]:
        if not tables:
            raise ConfigError('webhooks: is empty; write [webhooks.bot] with kind = "telegram"')
        return {name: _read(name, table) for name, table in tables.items()}

    @property
    def hooks(self) -> Mapping[str, Hook]:
        return self.model_extra or {}


def _read(name: str, table: object) -> Hook:
    path = f"webhooks.{one_line(name)}"
    if isinstance(table, Hook):
        return table
    if not isinstance(table, Mapping):
        raise ConfigError(f"{path}: is not a table; write [{path}]")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{path}: a name has letters, digits, - and _, at most 32")
    model = _model(path, table)
    return validate(model, table, path=path)


def _model(path: str, table: Mapping[str, Any]) -> type[Hook]:
    kind = table.get("kind")
    if isinstance(kind, str) and kind in KINDS:
        return KINDS[kind]
    close = difflib.get_close_matches(str(kind), KINDS, n=1)
    wrong = "is missing" if kind is None else f"{one_line(str(kind))!r} is not known"
    hint = f"did you mean {close[0]!r}?" if close else f"write one of {', '.join(KINDS)}"
    raise ConfigError(f"{path}.kind: {wrong}; {hint}")
