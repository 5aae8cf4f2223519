from __future__ import annotations

from typing import Any

import pytest
from prx_tunnel_cloudflare.config import CloudflareConfig

from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.secrets import secrets_of

TUNNEL = "6ff42ae2-765d-4adf-8112-31c55c1551ef"
LOCAL = {"credentials_file": "~/t.json", "tunnel_id": TUNNEL, "hostname": "app.example.com"}


def read(**table: Any) -> CloudflareConfig:
    return validate(CloudflareConfig, table, path="tunnel.cloudflare")


def test_nothing_set_is_a_quick_tunnel() -> None:
    config = read()
    assert config.kind == "quick"
    assert (config.protocol, config.program, config.grace_period) == ("auto", "cloudflared", 30.0)


def test_the_original_documents_example(token: str) -> None:
    config = read(token=token, hostname="agent.example.com")
    assert (config.kind, config.hostname) == ("remote", "agent.example.com")
    assert secrets_of(config) == [token]


def test_the_other_kinds() -> None:
    assert read(token_file="/run/secrets/tunnel").kind == "remote"
    assert read(**LOCAL).kind == "local"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"hostname": "app.example.com"}, "a hostname needs a token"),
        ({"token_file": "/x", **LOCAL}, "remotely managed"),
        ({"token_file": "/x", "tunnel_id": TUNNEL}, "remotely managed"),
        ({"tunnel_id": TUNNEL}, "credentials_file, tunnel_id and hostname"),
        ({"credentials_file": "/x", "tunnel_id": TUNNEL}, "and hostname"),
        ({"credentials_file": "/x", "hostname": "a.example.com"}, "tunnel_id and hostname"),
        ({**LOCAL, "tunnel_id": "my-tunnel"}, "UUID"),
        ({"token_file": "/x", "hostname": "https://a.example.com"}, "bare host name"),
        ({"token_file": "/x", "hostname": "*.example.com"}, "bare host name"),
        ({"token_file": "/x", "hostname": "a.example.com:443"}, "bare host name"),
        ({"token_file": "/x", "hostname": "localhost"}, "bare host name"),
        ({"token_file": "/x", "hostname": "192.0.2.1"}, "not an address"),
        ({"token_file": "/x", "hostname": "a..example.com"}, "host name"),
        ({"token_file": "/x", "hostname": "a\u202e.example.com"}, "characters"),
        ({"protocol": "h2mux"}, "quic"),
        ({"grace_period": 181}, "180"),
        ({"grace_period": -1}, "0"),
        ({"metrics_port": 0}, "1"),
        ({"edge_ip_version": 4}, "'4'"),
        ({"token": ""}, "secret"),
        ({"auth_token": "x"}, "token"),
        ({"cloudflared_path": "/x"}, "program"),
        ({"grace_period_secs": 30}, "grace_period"),
        ({"access": {"team": "two words", "audience": "x"}}, "team name"),
        ({"access": {"team": "example", "audience": []}}, "audience"),
        ({"access": {"team": "example"}}, "audience"),
    ],
)
def test_what_is_refused(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=r"tunnel\.cloudflare") as refused:
        read(**table)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "argument",
    [
        "run", "-p", "http2", "--url=http://127.0.0.1:22", "--token=x", "--token-file=/x",
        "--config=/etc/cloudflared/config.yml", "--metrics=0.0.0.0:1", "--loglevel=error",
        "--no-autoupdate=false", "--protocol=quic", "--p=quic", "--hello-world", "--help",
        "--version", "--grace-period=1s", "--hostname=x", "--bastion", "--socks5", "--Url=x",
        "--credentials-contents=x", "-url=x", "", "--", "--output=json\n--url=x",
    ],
)  # fmt: skip
def test_extra_arguments_that_are_ours(argument: str) -> None:
    with pytest.raises(ConfigError, match="extra_args"):
        read(extra_args=[argument])


def test_extra_arguments_that_are_not() -> None:
    arguments = ["--post-quantum", "--ha-connections=2", "--label=a b", "--no-tls-verify"]
    assert read(extra_args=arguments).extra_args == arguments


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda token: token.rstrip("="), "cut short"),
        (lambda token: token[:-9], "cut short"),
        (lambda token: f"cloudflared service install {token}", "spaces"),
        (lambda token: "notbase64!!!", "not a Cloudflare tunnel token"),
        (lambda token: "bm90IGpzb24=", "not a Cloudflare tunnel token"),
        (lambda token: "eyJhIjoieCJ9", "lacks"),
        (lambda token: "WzEsMl0=", "lacks"),
    ],
)
def test_a_token_that_cannot_be_right(token: str, change: Any, words: str) -> None:
    wrong = change(token)
    with pytest.raises(ConfigError, match=r"tunnel\.cloudflare\.token") as refused:
        read(token=wrong)
    assert words in str(refused.value)
    assert wrong not in str(refused.value)


def test_access_names_the_team_in_any_spelling() -> None:
    for team in (
        "example",
        "example.cloudflareaccess.com",
        "https://example.cloudflareaccess.com/",
    ):
        access = read(access={"team": team, "audience": "aud"}).access
        assert access is not None
        assert access.team == "example"


def test_two_ways_to_give_the_token(token: str) -> None:
    with pytest.raises(ConfigError, match="keep one"):
        read(token=token, token_file="/x")
