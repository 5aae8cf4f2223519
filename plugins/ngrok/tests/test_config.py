from __future__ import annotations

from typing import Any

import pytest
from prx_tunnel_ngrok.config import NgrokConfig

from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.expansion import expand

OIDC = {"issuer_url": "https://id.example", "client_id": "me", "client_secret": "oidc-secret"}


def read(**table: Any) -> NgrokConfig:
    return validate(NgrokConfig, table, path="tunnel.ngrok")


def test_nothing_has_to_be_set() -> None:
    config = read()
    assert config.authtoken is None
    assert config.program == "ngrok"
    assert config.inspector


def test_the_original_documents_example() -> None:
    table = {"authtoken": "${NGROK_AUTHTOKEN}", "domain": "my-agent.ngrok-free.app"}
    expanded = expand(table, {"NGROK_AUTHTOKEN": "token-from-env"}, path="tunnel.ngrok")
    assert isinstance(expanded, dict)
    config = read(**expanded)
    assert config.authtoken is not None
    assert config.authtoken.get_secret_value() == "token-from-env"
    assert config.domain == "my-agent.ngrok-free.app"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("My-Agent.NGROK-free.app", "my-agent.ngrok-free.app"), ("a.example.com.", "a.example.com")],
)
def test_a_domain_is_normalised(written: str, meant: str) -> None:
    assert read(domain=written).domain == meant


def test_a_network_may_be_written_by_one_of_its_addresses() -> None:
    assert read(allow_cidrs=["203.0.113.7/24", "2001:db8::1"]).allow_cidrs == [
        "203.0.113.0/24",
        "2001:db8::1/128",
    ]


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"domain": "https://a.example.com"}, "tunnel.ngrok.domain: a host name only"),
        ({"domain": "a.example.com:443"}, "a host name only"),
        ({"domain": "*.example.com"}, "a wildcard has no single URL"),
        ({"domain": "service.internal"}, "cannot be reached from outside"),
        ({"domain": "a b"}, "not a host name"),
        ({"domain": "localhost"}, "not a host name"),
        ({"domain": "a.example.com\n"}, "not a host name"),
        ({"domain": "127.0.0.1"}, "not a host name"),
        ({"authtoken": "abc"}, "tunnel.ngrok.authtoken: a secret has at least"),
        ({"basic_auth": ["user:short"]}, "8 to 128 characters"),
        ({"basic_auth": ["no colon at all"]}, 'write "user:password"'),
        ({"basic_auth": [f"u:{'x' * 129}"]}, "8 to 128 characters"),
        ({"basic_auth": [f"u{n}:password" for n in range(11)]}, "at most 10 items"),
        ({"allow_cidrs": ["everywhere"]}, "tunnel.ngrok.allow_cidrs"),
        ({"deny_cidrs": ["203.0.113.0/33"]}, "tunnel.ngrok.deny_cidrs"),
        # Written differently by Python 3.13, and an IPv4 visitor is in none of these for ngrok.
        ({"deny_cidrs": ["::ffff:203.0.113.0/120"]}, 'write networks as "203.0.113.0/24"'),
        ({"allow_cidrs": ["::ffff:0:0/96"]}, 'write networks as "203.0.113.0/24"'),
        ({"oauth": {}}, "tunnel.ngrok.oauth.provider: field required"),
        ({"oauth": {"provider": "Google Inc"}}, "tunnel.ngrok.oauth.provider"),
        ({"oauth": {"provider": "google", "client_id": "x"}}, "client_secret go together"),
        ({"oauth": {"provider": "google", "allow_emails": ["x"]}}, "not an e-mail address"),
        ({"oauth": {"provider": "google", "allow_domains": ["a') || ('"]}}, "not a host name"),
        ({"oidc": OIDC | {"issuer_url": "http://id.example"}}, "tunnel.ngrok.oidc.issuer_url"),
        ({"oidc": OIDC, "oauth": {"provider": "google"}}, "visitors can log in at one of them"),
        ({"verify_webhook": {"provider": "github"}}, "tunnel.ngrok.verify_webhook.secret"),
        ({"inspector": False, "inspector_port": 4040}, "remove one of them"),
        ({"inspector_port": 0}, "tunnel.ngrok.inspector_port"),
        ({"traffic_policy": 3}, "tunnel.ngrok.traffic_policy"),
        ({"auth_token": "x" * 30}, "did you mean 'authtoken'?"),
        ({"ngrok_path": "/opt/ngrok"}, "did you mean 'program'?"),
        ({"region": "eu"}, "unknown key 'region'"),
    ],
)
def test_an_error_names_the_key_and_the_reason(table: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**table)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("quote", ["'", "\\", "$", "{", "}", '"', "\n", " "])
def test_no_address_can_end_the_literal_that_it_goes_into(quote: str) -> None:
    for key in ("allow_emails", "allow_domains"):
        value = f"a{quote}b@example.com" if key == "allow_emails" else f"exa{quote}mple.com"
        with pytest.raises(ConfigError):
            read(oauth={"provider": "google", key: [value]})


def test_secrets_are_in_no_repr() -> None:
    config = read(
        authtoken="canary-token",
        basic_auth=["user:canary-password"],
        oidc=OIDC | {"client_secret": "canary-oidc"},
        verify_webhook={"provider": "github", "secret": "canary-hook"},
        traffic_policy={"on_http_request": [{"actions": [{"password": "canary-inline"}]}]},
    )
    assert "canary" not in repr(config)
    assert "canary" not in str(config)
