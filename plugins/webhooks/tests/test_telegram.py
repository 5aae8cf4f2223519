"""Telegram's `setWebhook`, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from webhook_kit.server import says
from webhook_kit.telegram import TOKEN, TelegramServer
from webhook_kit.tunnel import observed, shows

pytestmark = pytest.mark.anyio


@pytest.fixture
def telegram() -> Iterator[TelegramServer]:
    with TelegramServer() as server:
        yield server


def bot(server: TelegramServer, **table: Any) -> dict[str, Any]:
    own = {"kind": "telegram", "path": "/hook", "token": TOKEN, "secret": "a-secret_01"}
    return {"bot": {**own, "api_url": server.url, **table}}


async def test_every_option_reaches_telegram(telegram: TelegramServer) -> None:
    options = {
        "allowed_updates": ["message", "callback_query"],
        "max_connections": 7,
        "ip_address": "192.0.2.1",
    }
    async with observed(bot(telegram, **options)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "registered")
    assert telegram.webhook == {
        "url": "https://a.example.com/hook",
        "secret_token": "a-secret_01",
        **options,
    }


async def test_what_is_not_set_is_not_sent(telegram: TelegramServer) -> None:
    async with observed(bot(telegram)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "registered")
    assert set(telegram.asked[0].json()) == {"url", "secret_token"}


async def test_updates_that_came_while_the_tunnel_reconnected_are_never_dropped(
    telegram: TelegramServer,
) -> None:
    telegram.faults.append(says(500, {}))
    telegram.pending = 3
    async with observed(bot(telegram, drop_pending_updates=True)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "registered")
        assert telegram.pending == 0
        telegram.pending = 5
        tunnel.connect("https://b.example.com")
        await shows(state, "bot", "registered https://b")
    assert telegram.pending == 5


@pytest.mark.parametrize("token", ["no-token-of-a-bot", f"{TOKEN[:-1]}x"])
async def test_a_wrong_token_is_told_with_a_hint(telegram: TelegramServer, token: str) -> None:
    async with observed(bot(telegram, token=token)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        told = await shows(state, "bot", "(is the token of the bot right?)")
        assert token not in told


async def test_what_telegram_refuses_is_told_in_its_words(telegram: TelegramServer) -> None:
    reason = "Bad Request: bad webhook: Failed to resolve host: Name or service not known"
    telegram.faults.append(says(400, {"ok": False, "error_code": 400, "description": reason}))
    async with observed(bot(telegram)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", reason)
        await shows(state, "bot", "registered")
