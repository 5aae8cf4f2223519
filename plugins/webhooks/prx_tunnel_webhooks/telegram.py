"""Telegram's `setWebhook`: https://core.telegram.org/bots/api#setwebhook."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from typing_extensions import override

from prx_tunnel_webhooks.api import LONGEST_WAIT, Api
from prx_tunnel_webhooks.hook import ApiUrl, Provider, RemovableHook
from prx_tunnel_webhooks.verify.schemes import TELEGRAM_SECRET


class TelegramHook(RemovableHook):
    kind: Literal["telegram"]
    token: SecretStr
    """The bot's token."""
    secret: SecretStr
    """Telegram repeats it in the header `X-Telegram-Bot-Api-Secret-Token` of each update."""
    allowed_updates: list[str] | None = None
    """Kinds of updates; when not set, what was registered last; empty: Telegram's own choice."""
    max_connections: Annotated[int, Field(ge=1, le=100)] | None = None
    ip_address: str | None = None
    drop_pending_updates: bool = False
    """Drop updates from before the tunnel was opened, but not those from a reconnect."""
    api_url: ApiUrl = "https://api.telegram.org"

    @field_validator("secret")
    @classmethod
    def _valid_secret(cls, secret: SecretStr) -> SecretStr:
        if not TELEGRAM_SECRET.fullmatch(secret.get_secret_value()):
            raise ValueError("use 1 to 256 letters, digits, _ and -: Telegram takes nothing else")
        return secret

    @override
    def provider(self, api: Api) -> Provider:
        return Telegram(self, api)


class Telegram(Provider):
    def __init__(self, hook: TelegramHook, api: Api) -> None:
        self._hook = hook
        self._api = api
        self._dropped = False

    @override
    async def register(self, url: str) -> None:
        hook = self._hook
        wanted: dict[str, Any] = {
            "url": url,
            "secret_token": hook.secret.get_secret_value(),
            "allowed_updates": hook.allowed_updates,
            "max_connections": hook.max_connections,
            "ip_address": hook.ip_address,
        }
        if hook.drop_pending_updates and not self._dropped:
            wanted["drop_pending_updates"] = True
        await self._call("setWebhook", {k: v for k, v in wanted.items() if v is not None})
        self._dropped = True

    @override
    async def remove(self, url: str) -> None:
        info = await self._call("getWebhookInfo", {})
        if isinstance(info, dict) and info.get("url") == url:
            await self._call("deleteWebhook", {})

    async def _call(self, method: str, arguments: dict[str, Any]) -> object:
        token = self._hook.token.get_secret_value()
        address = f"{self._hook.api_url}/bot{token}/{method}"
        answer = await self._api.ask_json("POST", address, arguments)
        told = answer.table()
        if answer.ok and told.get("ok") is True:
            return told.get("result")
        parameters = told.get("parameters")
        wait = parameters.get("retry_after") if isinstance(parameters, dict) else None
        raise answer.refusal(
            f"{told.get('description', 'without a reason')}{_hint(answer.status)}",
            retry_after=float(min(wait, LONGEST_WAIT)) if isinstance(wait, int) else None,
        )


def _hint(status: int) -> str:
    # For Telegram, a token that is no token is part of an address that does not exist.
    return " (is the token of the bot right?)" if status in (401, 404) else ""
