from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prx_tunnel_ngrok import yaml12
from prx_tunnel_ngrok.config import NgrokConfig
from prx_tunnel_ngrok.policy import build

from prx_tunnel_core.errors import ConfigError


def rules(**settings: Any) -> list[dict[str, Any]]:
    policy = build(NgrokConfig.model_validate(settings))
    assert policy is not None
    assert list(policy.phases) == ["on_http_request"]
    return policy.phases["on_http_request"]


def test_no_key_no_policy() -> None:
    assert build(NgrokConfig()) is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"basic_auth": ["ann:password1", "bob:password2"]},
            [{"type": "basic-auth", "config": {"credentials": ["ann:password1", "bob:password2"]}}],
        ),
        (
            {"allow_cidrs": ["203.0.113.0/24"], "deny_cidrs": ["203.0.113.9/32"]},
            [
                {
                    "type": "restrict-ips",
                    "config": {
                        "enforce": True,
                        "allow": ["203.0.113.0/24"],
                        "deny": ["203.0.113.9/32"],
                    },
                }
            ],
        ),
        (
            {"verify_webhook": {"provider": "github", "secret": "hook-secret"}},
            [
                {
                    "type": "verify-webhook",
                    "config": {"provider": "github", "secret": "hook-secret"},
                }
            ],
        ),
        (
            {"oauth": {"provider": "google"}},
            [{"type": "oauth", "config": {"provider": "google"}}],
        ),
        (
            {
                "oauth": {
                    "provider": "github",
                    "client_id": "me",
                    "client_secret": "app-secret",
                    "scopes": ["user:email"],
                }
            },
            [
                {
                    "type": "oauth",
                    "config": {
                        "provider": "github",
                        "client_id": "me",
                        "client_secret": "app-secret",
                        "scopes": ["user:email"],
                    },
                }
            ],
        ),
        (
            {
                "oidc": {
                    "issuer_url": "https://id.example",
                    "client_id": "me",
                    "client_secret": "app-secret",
                }
            },
            [
                {
                    "type": "openid-connect",
                    "config": {
                        "issuer_url": "https://id.example",
                        "client_id": "me",
                        "client_secret": "app-secret",
                    },
                }
            ],
        ),
    ],
)
def test_each_key_is_one_action(settings: dict[str, Any], expected: list[object]) -> None:
    assert rules(**settings) == [{"actions": expected}]


def test_refused_networks_alone_leave_everybody_else_in() -> None:
    action = rules(deny_cidrs=["198.51.100.0/24"])[0]["actions"][0]
    assert action["config"]["allow"] == ["0.0.0.0/0", "::/0"]
    assert action["config"]["deny"] == ["198.51.100.0/24"]


def test_who_may_log_in_is_refused_unless_one_of_those_named() -> None:
    login = {"allow_domains": ["@Acme.com", "b.example"], "allow_emails": ["eve+x@c.example"]}
    oauth = rules(oauth={"provider": "google", **login})
    email = "actions.ngrok.oauth.identity.email"
    assert oauth[1:] == [
        {
            "expressions": [
                f"!{email}.endsWith('@acme.com')",
                f"!{email}.endsWith('@b.example')",
                f"{email} != 'eve+x@c.example'",
            ],
            "actions": [{"type": "deny"}],
        }
    ]
    credentials = {"issuer_url": "https://id.example", "client_id": "a", "client_secret": "abcd"}
    oidc = rules(oidc=credentials | login)
    assert oidc[1]["expressions"][2] == "actions.ngrok.oidc.identity.email != 'eve+x@c.example'"


def test_cheap_and_strict_rules_come_first_and_the_users_last() -> None:
    mine = {"actions": [{"type": "add-headers", "config": {"headers": {"x-a": "b"}}}]}
    policy = build(
        NgrokConfig.model_validate(
            {
                "oauth": {"provider": "google"},
                "basic_auth": ["ann:password1"],
                "verify_webhook": {"provider": "slack", "secret": "hook-secret"},
                "allow_cidrs": ["203.0.113.0/24"],
                "traffic_policy": {"on_http_request": [mine], "on_http_response": [mine]},
            }
        )
    )
    assert policy is not None
    types = [rule["actions"][0]["type"] for rule in policy.phases["on_http_request"]]
    assert types == ["restrict-ips", "verify-webhook", "basic-auth", "oauth", "add-headers"]
    assert policy.phases["on_http_response"] == [mine]


def test_a_file_is_merged_like_a_table(tmp_path: Path) -> None:
    file = tmp_path / "policy.yml"
    file.write_text(
        "on_http_request:\n"
        "  - expressions: [\"req.url.path.startsWith('/admin')\"]\n"
        "    actions:\n"
        "      - type: custom-response\n"
        "        config: {status_code: 404, headers: {x-open: 22:30, x-land: no}}\n"
    )
    found = rules(basic_auth=["ann:password1"], traffic_policy=str(file))
    assert found[0]["actions"][0]["type"] == "basic-auth"
    config = found[1]["actions"][0]["config"]
    assert config == {"status_code": 404, "headers": {"x-open": "22:30", "x-land": "no"}}


def test_a_file_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.json").write_text('{"on_http_request": [{"actions": [{"type": "deny"}]}]}')
    assert rules(traffic_policy="~/p.json") == [{"actions": [{"type": "deny"}]}]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a traffic policy"),
        ("just words", "not a traffic policy"),
        ("[]", "not a traffic policy"),
        ("inbound: []", "unknown phase 'inbound'"),
        ("on_http_request: {}", "on_http_request is not a list of rules"),
        ("on_http_request: [oauth]", "on_http_request is not a list of rules"),
        ("on_http_request: [", "line 1"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("[" * 500, "not YAML"),
        ("#" * (1 << 21), "larger than any traffic policy"),
    ],
)
def test_a_file_that_is_no_policy(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "policy.yml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        build(NgrokConfig(traffic_policy=str(file)))
    assert complaint in str(caught.value)
    assert "tunnel.ngrok.traffic_policy" in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin1.yml").write_bytes(b"on_http_request: \xe4")
    for path, complaint in {
        tmp_path / "missing.yml": "No such file",
        tmp_path: "Is a directory",
        tmp_path / "latin1.yml": "not UTF-8",
    }.items():
        with pytest.raises(ConfigError, match=complaint):
            build(NgrokConfig(traffic_policy=str(path)))


def test_an_error_in_a_file_quotes_nothing_of_it(tmp_path: Path) -> None:
    file = tmp_path / "policy.yml"
    file.write_text('on_http_request:\n  password: "canary\n')
    with pytest.raises(ConfigError) as caught:
        build(NgrokConfig(traffic_policy=str(file)))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("22:30", "22:30"),
        ("2026-01-02", "2026-01-02"),
        ("0777", "0777"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("10s", "10s"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("404", 404),
        ("-1", -1),
        ("1.5", 1.5),
        ("'404'", "404"),
    ],
)
def test_words_mean_what_they_mean_in_yaml_1_2(text: str, value: object) -> None:
    found = yaml12.load(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


def test_merge_keys_and_anchors_work() -> None:
    assert yaml12.load("a: &x {b: 1}\nc: {<<: *x, d: 2}") == {"a": {"b": 1}, "c": {"b": 1, "d": 2}}


def test_what_is_secret_in_a_policy() -> None:
    inline = {
        "on_http_request": [
            {"actions": [{"type": "x", "config": {"client_secret": "s3cret", "client_id": "me"}}]}
        ]
    }
    policy = build(
        NgrokConfig.model_validate({"basic_auth": ["ann:password1"], "traffic_policy": inline})
    )
    assert policy is not None
    found = {secret.get_secret_value() for secret in policy.secrets()}
    assert found == {"ann:password1", "password1", "s3cret"}
    assert repr(policy) == "Policy()"
