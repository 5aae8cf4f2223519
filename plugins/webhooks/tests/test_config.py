"""`[webhooks]`: every mistake is named with its key and its fix, and no secret with it."""

from __future__ import annotations

from typing import Any

import pytest
from prx_tunnel_webhooks import prx_tunnel_observers, webhook_url
from prx_tunnel_webhooks.config import WebhooksConfig

from prx_tunnel_core import ConfigError, Observer, PluginRegistry
from prx_tunnel_core.config import validate
from prx_tunnel_core.expansion import expand
from prx_tunnel_core.secrets import literal_secrets, secrets_of

TELEGRAM = {
    "kind": "telegram",
    "path": "/hook",
    "token": "1:canary-token",
    "secret": "canary-secret",
}
GITHUB = {
    "kind": "github",
    "path": "/h",
    "repository": "o/r",
    "token": "canary",
    "secret": "canary",
}
SLACK = {"kind": "slack", "path": "/h", "app_id": "A0", "token": "canary-token"}
HTTP = {"kind": "http", "path": "/h", "url": "https://api.example.com/hooks?url={url}"}


def read(table: object, name: str = "bot") -> WebhooksConfig:
    return validate(WebhooksConfig, {name: table}, path="webhooks")


def test_every_kind_is_read() -> None:
    organisation = {**GITHUB, "kind": "github-organisation", "organisation": "o"}
    del organisation["repository"]
    tables = {"a": TELEGRAM, "b": GITHUB, "c": organisation, "d": SLACK, "e": HTTP}
    config = validate(WebhooksConfig, tables, path="webhooks")
    assert [hook.kind for hook in config.hooks.values()] == [
        "telegram",
        "github",
        "github-organisation",
        "slack",
        "http",
    ]


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"path": "/h"}, "webhooks.bot.kind: is missing; write one of telegram, github"),
    ({"kind": "telegramm"}, "kind: 'telegramm' is not known; did you mean 'telegram'?"),
    ({"kind": ["x"]}, r"kind: .* is not known"),
    ({**TELEGRAM, "path": "hook"}, "webhooks.bot.path: write the path of the webhook only"),
    ({**TELEGRAM, "path": "https://x/hook"}, "bot.path: write the path of the webhook only"),
    ({**TELEGRAM, "path": "/hook?x=1"}, "bot.path: write the path of the webhook only"),
    ({**TELEGRAM, "path": "//evil.example.com"}, "bot.path: write the path"),
    ({**TELEGRAM, "secret": "canary secret!"}, "bot.secret: use 1 to 256 letters"),
    ({**TELEGRAM, "tokn": "x"}, "webhooks.bot: unknown key 'tokn'; did you mean 'token'?"),
    ({**TELEGRAM, "api_url": "http://api.example.com"}, "bot.api_url: .* travel in clear text"),
    (
        {**TELEGRAM, "api_url": "https://u:p@api.example.com"},
        "bot.api_url: the URL must not contain user",
    ),
    ({**TELEGRAM, "backoff_base_ms": 9, "backoff_max_ms": 8}, "backoff_base_ms is greater"),
    ({**TELEGRAM, "timeout": 0}, "webhooks.bot.timeout"),
    ({**TELEGRAM, "max_connections": 101}, "webhooks.bot.max_connections"),
    ({**GITHUB, "repository": "r"}, "webhooks.bot.repository"),
    ({**GITHUB, "events": []}, "webhooks.bot.events"),
    ({**SLACK, "remove_on_stop": True}, "unknown key 'remove_on_stop'"),
    ({"kind": "slack", "path": "/h", "app_id": "A0"}, "it needs a token, or a refresh_token"),
    ({**SLACK, "refresh_token": "canary"}, "refresh_token and token_file belong together"),
    ({**HTTP, "url": "https://api.example.com"}, "{url} is nowhere in url, headers and body"),
    ({**HTTP, "url": "https://{url}/"}, "bot.url: the host must be written out"),
    ({**HTTP, "url": "http://api.example.com/{url}"}, "bot.url: .* travel in clear text"),
    ({**HTTP, "url": "\x01https://api.example.com/{url}"}, "bot.url: has white space or control"),
    ({**HTTP, "url": "https://api.exam\tple.com/{url}"}, "bot.url: has white space or control"),
    ({**HTTP, "url": "https://[::1]evil.test/{url}"}, "bot.url: the part after the scheme must be"),
    ({**HTTP, "headers": {"X-Key": "{kye}"}}, "{kye} is neither url nor in secrets"),
    ({**HTTP, "headers": {"Host": "x"}}, "'Host' cannot be set as a header"),
    ({**HTTP, "headers": {"X: y\r\nZ": "x"}}, "cannot be set as a header"),
    ({**HTTP, "headers": {"X": "a\r\nb"}}, "characters that no header has"),
    ({**HTTP, "body": "{'url': {url}}"}, "body is no JSON"),
    ({**HTTP, "secrets": {"url": "canary"}}, "'url' is no name for a secret"),
    ({**HTTP, "secrets": {"key": "abc"}}, "key is too short"),
    ({**HTTP, "remove": {"url": "https://api.example.com/{x}"}}, "{x} is neither url nor in"),
]


@pytest.mark.parametrize(("table", "reason"), MISTAKES)
def test_mistakes_are_named(table: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        read(table)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["a b", "", "x" * 33, "-x", "a.b"])
def test_a_name_is_plain(name: str) -> None:
    with pytest.raises(ConfigError, match="a name has letters, digits"):
        read(TELEGRAM, name)


def test_a_key_where_a_table_belongs() -> None:
    with pytest.raises(ConfigError, match=r"webhooks.bot: is not a table; write \[webhooks.bot\]"):
        read("telegram")
    with pytest.raises(ConfigError, match="webhooks: is empty"):
        validate(WebhooksConfig, {}, path="webhooks")


@pytest.mark.parametrize("place", ["url", "headers", "body"])
def test_a_variable_belongs_into_secrets(place: str) -> None:
    values = {
        "url": "https://api.example.com/${KEY}?u={url}",
        "headers": {"Authorization": "Bearer ${KEY}"},
        "body": {"nested": [{"key": "${KEY}"}]},
    }
    table = expand({**HTTP, place: values[place]}, {"KEY": "canary"}, path="webhooks.bot")
    with pytest.raises(ConfigError, match=f"bot.{place}: .* put it into the table `secrets`"):
        read(table)


def test_secrets_are_known_as_such_and_never_shown() -> None:
    config = read({**HTTP, "secrets": {"key": "canary"}})
    assert secrets_of(config) == ["canary"]
    assert set(secrets_of(read(TELEGRAM))) == {"1:canary-token", "canary-secret"}
    assert "canary" not in repr(config) + repr(read(TELEGRAM))


def test_a_literal_secret_is_found() -> None:
    environ = {"TOKEN": "1:canary-token", "SECRET": "canary-secret"}
    variables = {**TELEGRAM, "token": "${TOKEN}", "secret": "${SECRET}"}
    expanded = expand(variables, environ, path="webhooks.bot")
    assert literal_secrets(read(expanded), {"bot": expanded}, path="webhooks") == []
    assert literal_secrets(read(TELEGRAM), {"bot": TELEGRAM}, path="webhooks") == [
        "webhooks.bot.token", "webhooks.bot.secret",
    ]  # fmt: skip


def test_variables_are_read_as_their_field_s_type() -> None:
    environ = {"N": "7", "S": "12.5"}
    table = {**TELEGRAM, "max_connections": "${N}", "timeout": "${S}"}
    hook = read(expand(table, environ, path="webhooks.bot")).hooks["bot"]
    assert (hook.timeout, getattr(hook, "max_connections", 0)) == (12.5, 7)


def test_the_plugin_is_found_by_its_table() -> None:
    (observer,) = prx_tunnel_observers()
    assert isinstance(observer, Observer)
    (found,) = PluginRegistry(environ={}).observers({"webhooks": {"bot": TELEGRAM}, "other": {}})
    assert (found.name, found.config) == ("webhooks", WebhooksConfig)


@pytest.mark.parametrize("base", ["https://x.example.com", "https://x.example.com/"])
@pytest.mark.parametrize("path", ["hook", "/hook"])
def test_webhook_url_joins_with_one_slash(base: str, path: str) -> None:
    assert webhook_url(base, path) == "https://x.example.com/hook"


def test_webhook_url_keeps_the_path_of_the_tunnel() -> None:
    assert (
        webhook_url("https://x.example.com/team/", "/hook/") == "https://x.example.com/team/hook/"
    )
