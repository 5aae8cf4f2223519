"""Any HTTP API that takes the URL of a webhook, by a template."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self
from urllib.parse import quote, quote_plus

from pydantic import Field, SecretStr, field_validator, model_validator
from typing_extensions import override

from prx_tunnel_core.config import ConfigModel
from prx_tunnel_core.expansion import Expanded
from prx_tunnel_core.text import SHORTEST_SECRET
from prx_tunnel_webhooks.api import Api
from prx_tunnel_webhooks.hook import Hook, Provider, valid_api_url

ContentType = Literal["application/json", "application/x-www-form-urlencoded", "text/plain"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection"})

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")

Body = str | dict[str, Any] | list[Any]


class Request(ConfigModel):
    """One request; `{url}` and the names in `secrets` stand for their values."""

    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = "POST"
    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    body: Body | None = None
    """A table, which is sent as JSON; or text, in which values are escaped for its content type."""
    content_type: ContentType = "application/json"

    @field_validator("url", "headers", "body", mode="before")
    @classmethod
    def _no_variables(cls, value: object) -> object:
        if _expanded(value):
            raise ValueError(
                "a variable in it would not be kept secret; put it into the table `secrets` of "
                "this webhook, and write {its_name} here"
            )
        return value

    @model_validator(mode="after")
    def _valid_body(self) -> Self:
        if isinstance(self.body, str) and self.content_type == "application/json":
            try:
                json.loads(self.body)
            except ValueError as error:
                raise ValueError(f"body is no JSON ({error}); set its content_type") from None
        return self

    @field_validator("url")
    @classmethod
    def _valid_url(cls, url: str) -> str:
        if re.search(r"[\x00-\x20\x7f]", url):
            raise ValueError("has white space or control characters; percent-encode them (%20)")
        # Not by `urlsplit`: which characters it leaves out depends on the release of Python.
        scheme, _, rest = url.partition("://")
        server = re.split("[/?#]", rest, maxsplit=1)[0]
        if "{" in server:
            raise ValueError("the host must be written out")
        valid_api_url(f"{scheme}://{server}")
        return url

    @field_validator("headers")
    @classmethod
    def _valid_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name) or name.lower() in _FRAMING:
                raise ValueError(f"{name!r} cannot be set as a header")
            if not value.isascii() or not value.isprintable():
                raise ValueError(f"the header {name} has characters that no header has")
        return headers


class HttpHook(Hook, Request):
    kind: Literal["http"]
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    remove: Request | None = None
    """The request that removes the webhook when the tunnel is closed."""

    @field_validator("secrets")
    @classmethod
    def _valid_secrets(cls, secrets: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, secret in secrets.items():
            value = secret.get_secret_value()
            if not _NAME.fullmatch(name) or name == "url":
                raise ValueError(f"{name!r} is no name for a secret: a-z, 0-9 and _, but not url")
            if len(value) < SHORTEST_SECRET or not value.isascii() or not value.isprintable():
                raise ValueError(f"{name} is too short or has characters that no secret has")
        return secrets

    @model_validator(mode="after")
    def _says_the_url(self) -> Self:
        if "{url}" not in json.dumps([self.url, self.headers, self.body]):
            raise ValueError("{url} is nowhere in url, headers and body: what is it to say?")
        return self

    @model_validator(mode="after")
    def _knows_the_names(self) -> Self:
        known = {"url", *self.secrets}
        requests: list[Request] = [self, self.remove] if self.remove else [self]
        for request in requests:
            for text in (request.url, *request.headers.values()):
                unknown = set(_PLACEHOLDER.findall(text)) - known
                if unknown:
                    raise ValueError(f"{{{min(unknown)}}} is neither url nor in secrets")
        return self

    @property
    @override
    def removes(self) -> bool:
        return self.remove is not None

    @override
    def provider(self, api: Api) -> Provider:
        return Template(self, api)


class Template(Provider):
    def __init__(self, hook: HttpHook, api: Api) -> None:
        self._hook = hook
        self._api = api

    @override
    async def register(self, url: str) -> None:
        await self._send(self._hook, url)

    @override
    async def remove(self, url: str) -> None:
        if self._hook.remove is not None:
            await self._send(self._hook.remove, url)

    async def _send(self, request: Request, url: str) -> None:
        secrets = self._hook.secrets.items()
        values = {"url": url, **{name: secret.get_secret_value() for name, secret in secrets}}
        headers = {name: fill(text, values) for name, text in request.headers.items()}
        if request.body is not None:
            headers = {"Content-Type": request.content_type, **headers}
        answer = await self._api.ask(
            request.method,
            fill(request.url, values, lambda value: quote(value, safe="")),
            headers=headers,
            content=body_of(request, values),
        )
        if not answer.ok:
            raise answer.refusal(answer.body.decode(errors="replace"))


def fill(
    text: str, values: Mapping[str, str], escape: Callable[[str], str] = lambda value: value
) -> str:
    """Replace each `{name}` once; other braces are left unchanged."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"\{{({names})\}}", lambda match: escape(values[match[1]]), text)


def body_of(request: Request, values: Mapping[str, str]) -> bytes | None:
    match request.body:
        case None:
            return None
        case str(text):
            return fill(text, values, _ESCAPES[request.content_type]).encode()
        case tree:
            return json.dumps(_filled(tree, values)).encode()


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]


_ESCAPES: Mapping[ContentType, Callable[[str], str]] = {
    "application/json": _in_json,
    "application/x-www-form-urlencoded": quote_plus,
    "text/plain": str,
}


def _filled(value: object, values: Mapping[str, str]) -> object:
    match value:
        case str():
            return fill(value, values)
        case dict():
            return {key: _filled(item, values) for key, item in value.items()}
        case list():
            return [_filled(item, values) for item in value]
        case _:
            return value


def _expanded(value: object) -> bool:
    match value:
        case dict():
            return any(map(_expanded, value.values()))
        case list():
            return any(map(_expanded, value))
        case _:
            return isinstance(value, Expanded)
