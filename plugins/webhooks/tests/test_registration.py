"""Whatever the provider does, the registration says it, and gets there in the end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from prx_tunnel_webhooks.hook import Hook
from prx_tunnel_webhooks.registration import delay_after
from webhook_kit.github import GitHubServer
from webhook_kit.server import Fault, breaks_off, floods, garbage, hangs, resets, says
from webhook_kit.telegram import TOKEN, TelegramServer
from webhook_kit.tunnel import observed, shows

pytestmark = pytest.mark.anyio

SECRET = "telegram-secret-canary"


@pytest.fixture
def telegram() -> Iterator[TelegramServer]:
    with TelegramServer() as server:
        yield server


def bot(server: TelegramServer, **table: Any) -> dict[str, Any]:
    own = {"kind": "telegram", "path": "/hook", "token": TOKEN, "secret": SECRET}
    return {"bot": {**own, "api_url": server.url, **table}}


async def test_it_is_pending_until_there_is_a_url_then_registered(telegram: TelegramServer) -> None:
    async with observed(bot(telegram)) as (tunnel, state):
        assert state() == {"bot": "pending: the tunnel has no URL yet"}
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "registered https://a.example.com/hook")
        assert telegram.webhook["url"] == "https://a.example.com/hook"
        assert telegram.webhook["secret_token"] == SECRET


async def test_m10_each_new_url_is_registered(telegram: TelegramServer) -> None:
    async with observed(bot(telegram)) as (tunnel, state):
        for name in "abc":
            tunnel.connect(f"https://{name}.example.com/")
            await shows(state, "bot", f"registered https://{name}.example.com/hook")
            assert telegram.webhook["url"] == f"https://{name}.example.com/hook"
    assert len(telegram.asked) == 3


FAULTS: list[tuple[Fault, str]] = [
    (says(401, {"ok": False, "description": "Unauthorized"}), "401 Unauthorized: Unauthorized"),
    (says(500, b"<html>oops</html>"), "500 Internal Server Error: which is no JSON"),
    (says(502), "502 Bad Gateway"),
    (says(200, b"\xff\xfe not json"), "200 OK: which is no JSON"),
    (says(200, [1, 2]), "which is no JSON object"),
    (says(200, b"[" * 100_000), "which is no JSON"),
    (says(200, b"9" * 5000), "which is no JSON"),
    (says(302, {"ok": True}, location="http://127.0.0.1:1/"), "redirects are not followed"),
    (says(999, {"ok": True}), "answered 999"),
    (resets, "no answer from 127.0.0.1"),
    (breaks_off, "no answer from 127.0.0.1"),
    (garbage, "no answer from 127.0.0.1"),
    (floods, "answered with more than 1048576 bytes"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
async def test_every_fault_is_told_and_it_recovers(
    telegram: TelegramServer, fault: Fault, reason: str
) -> None:
    telegram.fault = fault
    async with observed(bot(telegram)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        told = await shows(state, "bot", reason)
        assert told.startswith("failed: ")
        assert "next try in" in told
        telegram.fault = None
        await shows(state, "bot", "registered https://a.example.com/hook")


@pytest.mark.parametrize("surplus", [0, 1, 1000])
async def test_a_reason_has_at_most_four_hundred_characters(
    telegram: TelegramServer, caplog: pytest.LogCaptureFixture, surplus: int
) -> None:
    begin = "127.0.0.1 answered 400 Bad Request: "
    telegram.fault = says(400, {"ok": False, "description": "y" * (400 - len(begin) + surplus)})
    async with observed(bot(telegram)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        told = await shows(state, "bot", "failed: ")
    (logged,) = {each for each in caplog.messages if each.startswith("webhook bot: ")}
    reason = logged.removeprefix("webhook bot: ")
    assert (len(reason), reason[-1]) == (400, "y")
    assert reason in told


async def test_a_provider_that_is_slow_is_given_up_and_asked_again(
    telegram: TelegramServer,
) -> None:
    telegram.faults.append(hangs)
    async with observed(bot(telegram, timeout=0.2)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "no answer within 0.2 s")
        await shows(state, "bot", "registered")


async def test_a_provider_that_is_down_is_found_again(telegram: TelegramServer) -> None:
    telegram.stop()
    async with observed(bot(telegram)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "no answer from 127.0.0.1")
        telegram.start()
        await shows(state, "bot", "registered")


RATE_LIMITS = [
    says(429, {"ok": False, "parameters": {"retry_after": 1}, "description": "Too Many Requests"}),
    says(429, {"ok": False}, retry_after="1"),
]


@pytest.mark.parametrize("limit", RATE_LIMITS, ids=["telegram", "header"])
async def test_retry_after_is_honoured_even_for_a_new_url(
    telegram: TelegramServer, limit: Fault
) -> None:
    telegram.faults.append(limit)
    async with observed(bot(telegram)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "429 Too Many Requests")
        tunnel.connect("https://b.example.com")
        await shows(state, "bot", "registered https://b.example.com/hook")
    first, second = telegram.asked
    assert second.at - first.at >= 1


async def test_a_new_url_does_not_wait_for_the_delay_of_the_old_one(
    telegram: TelegramServer,
) -> None:
    telegram.faults.append(says(500, {}))
    patient = {"backoff_base_ms": 60_000, "backoff_max_ms": 60_000}
    async with observed(bot(telegram, **patient)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "500")
        tunnel.connect("https://b.example.com")
        await shows(state, "bot", "registered https://b.example.com/hook")


async def test_the_newest_url_wins_over_one_that_is_still_being_registered(
    telegram: TelegramServer,
) -> None:
    telegram.faults.append(hangs)
    async with observed(bot(telegram, timeout=0.3)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await telegram.until(lambda: telegram.asked)
        tunnel.connect("https://b.example.com")
        tunnel.connect("https://c.example.com")
        await shows(state, "bot", "registered https://c.example.com/hook")
    urls = [asked.json()["url"] for asked in telegram.asked]
    assert urls == ["https://a.example.com/hook", "https://c.example.com/hook"]


async def test_delays_grow_to_the_longest_and_are_never_alike() -> None:
    hook = Hook(kind="any", path="/h", backoff_base_ms=100, backoff_max_ms=1000)
    for failures, ceiling in [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (5, 1.0), (10**6, 1.0)]:
        delays = {delay_after(failures, hook) for _ in range(100)}
        assert len(delays) > 50
        assert ceiling / 2 <= min(delays) <= max(delays) <= ceiling


async def test_one_that_fails_holds_no_other_up(telegram: TelegramServer) -> None:
    telegram.fault = hangs
    with GitHubServer() as github:
        github.hooks["repos/o/r"] = {}
        repo = {"kind": "github", "path": "/gh", "repository": "o/r", "secret": "github-secret"}
        repo |= {"token": "github_pat_11FAKE0000000000000000_canary", "api_url": github.url}
        async with observed({**bot(telegram), "repo": repo}) as (tunnel, state):
            tunnel.connect("https://a.example.com")
            await shows(state, "repo", "registered https://a.example.com/gh")
            assert state()["bot"] == "pending https://a.example.com/hook"
            telegram.stop()


async def test_a_tunnel_without_http_is_told_as_such(telegram: TelegramServer) -> None:
    async with observed(bot(telegram)) as (tunnel, state):
        tunnel.connect("tcp://a.example.com:4000")
        await shows(state, "bot", "a webhook needs an http URL, and the tunnel's is tcp")
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "registered")


async def test_a_defect_of_ours_is_told_and_tried_again(
    telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prx_tunnel_webhooks.telegram import Telegram

    async def fails(*_: object) -> None:
        await anyio.lowlevel.checkpoint()
        raise KeyError(TOKEN)

    async with observed(bot(telegram)) as (tunnel, state):
        with monkeypatch.context() as patch:
            patch.setattr(Telegram, "register", fails)
            tunnel.connect("https://a.example.com")
            told = await shows(state, "bot", "a defect of prx-tunnel-webhooks: KeyError")
            assert TOKEN not in told
        await shows(state, "bot", "registered")


@pytest.mark.parametrize("fault", [None, says(400, {"ok": False, "description": TOKEN}), hangs])
async def test_no_secret_and_no_url_with_one_is_logged_or_shown(
    telegram: TelegramServer, caplog: pytest.LogCaptureFixture, fault: Fault | None
) -> None:
    caplog.set_level(logging.DEBUG)
    telegram.fault = fault
    async with observed(bot(telegram, timeout=0.2)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        told = await shows(state, "bot", "registered" if fault is None else "failed")
    assert "webhook bot: " in caplog.text
    for text in (caplog.text, told):
        assert SECRET not in text
        assert TOKEN not in text


async def test_the_requests_of_others_are_logged_as_ever(
    telegram: TelegramServer, caplog: pytest.LogCaptureFixture
) -> None:
    import httpx

    caplog.set_level(logging.INFO, "httpx")
    async with observed(bot(telegram)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "registered")
        assert caplog.records == [r for r in caplog.records if r.name != "httpx"]
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(f"{telegram.url}/theirs")
    assert "/theirs" in caplog.text
    assert logging.getLogger("httpx").filters == []


async def test_half_a_secret_at_the_end_of_a_long_reason_is_no_leak(
    telegram: TelegramServer,
) -> None:
    telegram.fault = says(400, {"ok": False, "description": "x" * 340 + TOKEN * 3})
    async with observed(bot(telegram)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        told = await shows(state, "bot", "failed")
        assert TOKEN[:12] not in told


async def test_it_is_removed_on_stop_only_when_asked_and_only_while_it_is_ours(
    telegram: TelegramServer,
) -> None:
    async with observed(bot(telegram)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "registered")
    assert telegram.webhook["url"] == "https://a.example.com/hook"
    async with observed(bot(telegram, remove_on_stop=True)) as (tunnel, state):
        tunnel.connect("https://b.example.com")
        await shows(state, "bot", "registered")
    assert telegram.webhook == {}
    async with observed(bot(telegram, remove_on_stop=True)) as (tunnel, state):
        tunnel.connect("https://c.example.com")
        await shows(state, "bot", "registered")
        telegram.webhook["url"] = "https://another-instance.example.com/hook"
    assert telegram.webhook["url"] == "https://another-instance.example.com/hook"


async def test_a_cancelled_tunnel_still_removes_but_not_for_ever(
    telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("prx_tunnel_webhooks.observer.FAREWELL", 0.3)
    with anyio.CancelScope() as scope:
        async with observed(bot(telegram, remove_on_stop=True)) as (tunnel, state):
            tunnel.connect("https://a.example.com")
            await shows(state, "bot", "registered")
            scope.cancel()
            await anyio.sleep_forever()
    assert telegram.webhook == {}
    async with observed(bot(telegram, remove_on_stop=True)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "registered")
        telegram.fault = hangs
    telegram.fault = says(500, {})
    async with observed(bot(telegram, remove_on_stop=True)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "bot", "500")
    assert "webhook bot: not removed: 127.0.0.1 answered 500" in caplog.text
