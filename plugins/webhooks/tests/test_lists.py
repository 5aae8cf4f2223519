"""Lists of this plugin, each walked whole; written here a second time, from RFC 9110 and ours."""

from __future__ import annotations

import pytest
from prx_tunnel_webhooks.config import WebhooksConfig
from prx_tunnel_webhooks.github import GitHubHook
from prx_tunnel_webhooks.slack import SlackHook
from prx_tunnel_webhooks.telegram import TelegramHook
from prx_tunnel_webhooks.template import HttpHook, Request

from prx_tunnel_core.config import ConfigModel, validate
from prx_tunnel_core.errors import ConfigError


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding", "Connection"])
def test_a_header_that_frames_the_request_cannot_be_set(name: str) -> None:
    for spelling in (name, name.lower(), name.upper()):
        table = {"url": "https://a.example/x", "headers": {spelling: "x"}}
        with pytest.raises(ConfigError, match="cannot be set as a header"):
            validate(Request, table, path="webhooks.x")
    validate(Request, {"url": "https://a.example/x", "headers": {f"X-{name}": "x"}}, path="x")


@pytest.mark.parametrize("kind", ["telegram", "github", "github-organisation", "slack", "http"])
def test_each_kind_has_a_table_of_its_own(kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(WebhooksConfig, {"mine": {"kind": kind, "no_such_key": 1}}, path="webhooks")
    assert "no_such_key" in str(caught.value)


def test_no_other_kind_is_known() -> None:
    with pytest.raises(ConfigError, match="'gitlab' is not known; did you mean 'github'"):
        validate(WebhooksConfig, {"mine": {"kind": "gitlab"}}, path="webhooks")


EVERY = {"timeout": 10.0, "backoff_base_ms": 1000, "backoff_max_ms": 300_000}


@pytest.mark.parametrize(
    ("model", "defaults"),
    [
        (
            TelegramHook,
            {
                "remove_on_stop": False,
                "allowed_updates": None,
                "max_connections": None,
                "ip_address": None,
                "drop_pending_updates": False,
                "api_url": "https://api.telegram.org",
            },
        ),
        (
            GitHubHook,
            {
                "remove_on_stop": False,
                "events": ["push"],
                "content_type": "json",
                "api_url": "https://api.github.com",
            },
        ),
        (
            SlackHook,
            {
                "token": None,
                "refresh_token": None,
                "token_file": None,
                "events": None,
                "api_url": "https://slack.com/api",
            },
        ),
        (
            HttpHook,
            {
                "method": "POST",
                "headers": {},
                "body": None,
                "content_type": "application/json",
                "secrets": {},
                "remove": None,
            },
        ),
    ],
)
def test_what_holds_for_a_key_that_is_not_set(
    model: type[ConfigModel], defaults: dict[str, object]
) -> None:
    fields = {key: each for key, each in model.model_fields.items() if not each.is_required()}
    found = {key: each.get_default(call_default_factory=True) for key, each in fields.items()}
    assert found == EVERY | defaults
