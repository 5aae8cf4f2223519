"""The settings of every kind of webhook: its path and its timeout."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from prx_tunnel_core.config import ConfigModel, Seconds
from prx_tunnel_core.urls import is_loopback, normalise
from prx_tunnel_webhooks.api import Api

_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
Milliseconds = Annotated[int, Field(ge=1, le=86_400_000)]


class Provider(ABC):
    """A webhook at its provider. Both methods raise Refusal, and may be called again."""

    @abstractmethod
    async def register(self, url: str) -> None:
        """Register the URL, in place of an earlier one."""

    @abstractmethod
    async def remove(self, url: str) -> None:
        """Remove the URL; another URL that was registered since then stays."""


class Hook(ConfigModel):
    """`[webhooks.<name>]`."""

    kind: str
    path: str
    """The path of the agent's endpoint, below the public URL."""
    timeout: Seconds = 10.0
    """Seconds that one attempt may take, all its requests included."""
    backoff_base_ms: Milliseconds = 1000
    backoff_max_ms: Milliseconds = 300_000

    @property
    def removes(self) -> bool:
        """Whether to remove the webhook when the tunnel is closed."""
        return False

    def provider(self, api: Api) -> Provider:
        raise NotImplementedError

    @field_validator("path")
    @classmethod
    def _valid_path(cls, path: str) -> str:
        if not _PATH.fullmatch(path) or "//" in path:
            raise ValueError('write the path of the webhook only, such as "/webhooks/telegram"')
        return path

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.backoff_base_ms > self.backoff_max_ms:
            raise ValueError("backoff_base_ms is greater than backoff_max_ms")
        return self


class RemovableHook(Hook):
    """A webhook at a provider's API that can be removed."""

    remove_on_stop: bool = False

    @property
    def removes(self) -> bool:
        return self.remove_on_stop


def valid_api_url(url: str) -> str:
    """Without a slash at its end. ValueError where a secret would travel in clear."""
    url = normalise(url, schemes=("https", "http"))
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("the token would travel in clear text; use https://")
    return url


ApiUrl = Annotated[str, AfterValidator(valid_api_url)]
"""Where the API is: for an enterprise's own installation, and for tests."""
