"""Slack's manifest: only our URL in it changes, and tokens that are good for one use are kept."""

from __future__ import annotations

import copy
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from webhook_kit.server import says
from webhook_kit.slack import APP, REFRESH, TOKEN, SlackServer
from webhook_kit.tunnel import observed, shows

pytestmark = pytest.mark.anyio


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


def app(server: SlackServer, **table: Any) -> dict[str, Any]:
    own = {"kind": "slack", "path": "/slack/events", "app_id": APP, "api_url": server.url}
    return {"app": {**own, **(table or {"token": TOKEN})}}


async def test_the_url_is_all_that_changes(slack: SlackServer) -> None:
    expected = copy.deepcopy(slack.manifest)
    expected["settings"]["event_subscriptions"]["request_url"] = (
        "https://b.example.com/slack/events"
    )
    async with observed(app(slack)) as (tunnel, state):
        for name in "ab":
            tunnel.connect(f"https://{name}.example.com")
            await shows(state, "app", f"registered https://{name}.example.com/slack/events")
    assert slack.manifest == expected


async def test_a_manifest_that_says_it_already_is_not_updated(slack: SlackServer) -> None:
    for _ in range(2):
        async with observed(app(slack)) as (tunnel, state):
            tunnel.connect("https://a.example.com")
            await shows(state, "app", "registered")
    assert slack.updates == 1


async def test_events_are_subscribed_where_there_were_none(slack: SlackServer) -> None:
    del slack.manifest["settings"]
    table = {"token": TOKEN, "events": ["app_mention", "message.im"]}
    async with observed(app(slack, **table)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "app", "registered")
    assert slack.manifest["settings"]["event_subscriptions"] == {
        "request_url": "https://a.example.com/slack/events",
        "bot_events": ["app_mention", "message.im"],
    }


async def test_refusals_are_told_with_their_place(slack: SlackServer) -> None:
    problem = {"message": "Interactivity requires a Request URL", "pointer": "/settings/i"}
    told = {"ok": False, "error": "invalid_manifest", "errors": [problem, "x"]}
    slack.faults.append(says(200, told))
    async with observed(app(slack)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(
            state, "app", "invalid_manifest; Interactivity requires a Request URL (/settings/i)"
        )
        await shows(state, "app", "registered")


async def test_a_url_where_nobody_answers_slack_is_refused_until_somebody_does(
    slack: SlackServer,
) -> None:
    slack.asks_the_url = True
    async with observed(app(slack)) as (tunnel, state):
        tunnel.connect("http://127.0.0.1:1")
        await shows(state, "app", "Your URL didn't respond with the value of the challenge")
        slack.asks_the_url = False
        await shows(state, "app", "registered")


async def test_an_expired_token_without_another_says_what_to_do(slack: SlackServer) -> None:
    slack.tokens.clear()
    async with observed(app(slack)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "app", "token_expired: a token is valid for 12 hours; give")


@pytest.mark.parametrize("token", [None, "xoxe.xoxp-1-expired"])
async def test_tokens_are_renewed_and_the_next_run_goes_on_with_them(
    slack: SlackServer, tmp_path: Path, token: str | None
) -> None:
    file = tmp_path / "slack.json"
    table: dict[str, Any] = {"refresh_token": REFRESH, "token_file": str(file)}
    if token is not None:
        table["token"] = token
    for name in "ab":
        async with observed(app(slack, **table)) as (tunnel, state):
            tunnel.connect(f"https://{name}.example.com")
            await shows(state, "app", "registered")
    rotations = [asked for asked in slack.asked if asked.path == "/tooling.tokens.rotate"]
    assert [asked.form["refresh_token"] for asked in rotations] == [REFRESH]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [file.name]


async def test_tokens_that_expire_while_it_runs_are_renewed(
    slack: SlackServer, tmp_path: Path
) -> None:
    table = {"refresh_token": REFRESH, "token_file": str(tmp_path / "slack.json")}
    async with observed(app(slack, **table)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "app", "registered")
        slack.tokens.clear()
        tunnel.connect("https://b.example.com")
        await shows(state, "app", "registered https://b.example.com")


async def test_a_token_near_its_end_is_renewed_before(slack: SlackServer, tmp_path: Path) -> None:
    file = tmp_path / "slack.json"
    table = {"refresh_token": REFRESH, "token_file": str(file)}
    async with observed(app(slack, **table)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "app", "registered")
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "expires": kept["expires"] - 43_000}))
    async with observed(app(slack, **table)) as (tunnel, state):
        tunnel.connect("https://b.example.com")
        await shows(state, "app", "registered")
    assert slack.tokens == {f"{TOKEN}-2"}
    assert not any("failed" in value for value in state().values())


async def test_two_runs_share_the_tokens_that_either_renewed(
    slack: SlackServer, tmp_path: Path
) -> None:
    table = app(slack, refresh_token=REFRESH, token_file=str(tmp_path / "slack.json"))
    async with observed(table) as (one, first), observed(table) as (two, second):
        one.connect("https://a.example.com")
        await shows(first, "app", "registered")
        two.connect("https://b.example.com")
        await shows(second, "app", "registered")
        slack.tokens.clear()
        one.connect("https://c.example.com")
        await shows(first, "app", "registered https://c")
        two.connect("https://d.example.com")
        await shows(second, "app", "registered https://d")
    assert slack.tokens == {f"{TOKEN}-2"}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"origin": 3}', "\x00", '{"origin": "x"}'])
async def test_a_file_that_is_not_ours_begins_anew(
    slack: SlackServer, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "slack.json"
    file.write_text(content)
    async with observed(app(slack, refresh_token=REFRESH, token_file=str(file))) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "app", "registered")
    assert json.loads(file.read_text())["refresh_token"] == f"{REFRESH}-1"


async def test_tokens_that_cannot_be_kept_are_told_and_used(
    slack: SlackServer, tmp_path: Path
) -> None:
    file = tmp_path / "missing" / "slack.json"
    async with observed(app(slack, refresh_token=REFRESH, token_file=str(file))) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        told = await shows(state, "app", "the new Slack tokens cannot be kept in")
        assert REFRESH not in told
        await shows(state, "app", "registered")


async def test_renewed_tokens_are_secrets_too(slack: SlackServer, tmp_path: Path) -> None:
    table = {"refresh_token": REFRESH, "token_file": str(tmp_path / "slack.json")}
    async with observed(app(slack, **table)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "app", "registered")
        slack.fault = says(200, {"ok": False, "error": f"echo {TOKEN}-1 and {REFRESH}-1"})
        tunnel.connect("https://b.example.com")
        told = await shows(state, "app", "echo")
        assert "echo ********** and **********" in told
