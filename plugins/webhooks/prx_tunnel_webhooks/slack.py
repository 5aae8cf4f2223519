"""Slack's event subscriptions, which are in the manifest of the app.

https://docs.slack.dev/reference/methods/apps.manifest.update
"""

from __future__ import annotations

import copy
import json
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlencode

from pydantic import Field, SecretStr, field_validator, model_validator
from typing_extensions import override

from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.expansion import expand_home
from prx_tunnel_webhooks.api import Api, Refusal
from prx_tunnel_webhooks.hook import ApiUrl, Hook, Provider
from prx_tunnel_webhooks.slack_tokens import Tokens


class SlackHook(Hook):
    """There is no `remove_on_stop`: Slack would forget the subscribed events with the URL."""

    kind: Literal["slack"]
    app_id: Annotated[str, Field(pattern=r"^[A-Z0-9]+$")]
    token: SecretStr | None = None
    """An app configuration token; it is valid for 12 hours."""
    refresh_token: SecretStr | None = None
    """Its refresh token, which is valid once; `token_file` keeps the next one."""
    token_file: str | None = None
    events: list[str] | None = None
    """Bot events to subscribe to; when not set, those of the manifest stay."""
    api_url: ApiUrl = "https://slack.com/api"

    @field_validator("token_file")
    @classmethod
    def _whole_path(cls, path: str | None) -> str | None:
        try:
            return path and expand_home(path)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _has_tokens(self) -> Self:
        if self.token is None and self.refresh_token is None:
            raise ValueError("it needs a token, or a refresh_token with a token_file")
        if (self.refresh_token is None) != (self.token_file is None):
            raise ValueError(
                "refresh_token and token_file belong together: a refresh token is good for one "
                "use, and the next one has to be kept in a file"
            )
        return self

    @override
    def provider(self, api: Api) -> Provider:
        return Slack(self, api)


class Slack(Provider):
    def __init__(self, hook: SlackHook, api: Api) -> None:
        self._hook = hook
        self._api = api
        self._tokens = Tokens(hook.token, hook.refresh_token, hook.token_file)
        api.redact.add(*self._tokens.secrets)

    @override
    async def register(self, url: str) -> None:
        """Slack asks the URL whether it wants the events (`url_verification`) before it agrees."""
        told = await self._call("apps.manifest.export", {"app_id": self._hook.app_id})
        manifest = told.get("manifest")
        if not isinstance(manifest, dict):
            raise Refusal("Slack exported no manifest")
        wanted = _subscribed(manifest, url, self._hook.events)
        if wanted != manifest:  # it may be updated once a minute only
            await self._call(
                "apps.manifest.update",
                {"app_id": self._hook.app_id, "manifest": _compact(wanted)},
            )

    @override
    async def remove(self, url: str) -> None:
        """Nothing: see `SlackHook`."""

    async def _call(self, method: str, arguments: dict[str, str]) -> dict[str, Any]:
        if self._tokens.stale:
            await self._renew()
        try:
            return await self._post(method, arguments, self._tokens.current)
        except Expired as expired:
            if not self._tokens.renewable:
                hint = "a token is valid for 12 hours; give a refresh_token and a token_file"
                raise Refusal(f"{expired}: {hint}") from None
        await self._renew()
        return await self._post(method, arguments, self._tokens.current)

    async def _renew(self) -> None:
        await self._tokens.rotate(self._post)
        self._api.redact.add(*self._tokens.secrets)

    async def _post(
        self, method: str, arguments: dict[str, str], token: str = ""
    ) -> dict[str, Any]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        answer = await self._api.ask(
            "POST",
            f"{self._hook.api_url}/{method}",
            headers=headers,
            content=urlencode(arguments).encode(),
        )
        told = answer.table()
        if answer.ok and told.get("ok") is True:
            return told
        refusal = answer.refusal(f"{method}: {_reasons(told)}")
        if told.get("error") in ("token_expired", "invalid_auth"):
            raise Expired(str(refusal), retry_after=refusal.retry_after)
        raise refusal


class Expired(Refusal):
    """The token is not, or no longer, valid."""


def _subscribed(manifest: dict[str, Any], url: str, events: list[str] | None) -> dict[str, Any]:
    """The manifest with our URL and otherwise unchanged, because an update replaces everything."""
    wanted = copy.deepcopy(manifest)
    settings = wanted.setdefault("settings", {})
    subscriptions = settings.setdefault("event_subscriptions", {})
    subscriptions["request_url"] = url
    if events is not None:
        subscriptions["bot_events"] = events
    return wanted


def _compact(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, separators=(",", ":"))


def _reasons(told: dict[str, Any]) -> str:
    words = [str(told.get("error", "without a reason"))]
    errors = told.get("errors")
    words += [
        f"{error.get('message')} ({error.get('pointer')})"
        for error in (errors if isinstance(errors, list) else ())
        if isinstance(error, dict)
    ]
    return "; ".join(words)
