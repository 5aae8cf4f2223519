"""The traffic policy that the keys ask for.

ngrok deprecated a flag per feature (`--basic-auth`, `--oauth`, `--cidr-allow`…) for this document:
https://ngrok.com/docs/traffic-policy/. Rules run from top to bottom, so the order here is that of
cost and of trust: the visitor's network first, then the signature, then the login.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from prx_tunnel_core import trust
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.expansion import expand_home
from prx_tunnel_core.text import sounds_secret
from prx_tunnel_ngrok import yaml12
from prx_tunnel_ngrok.config import LoginConfig, NgrokConfig, OAuthConfig, OidcConfig

Rule = dict[str, Any]
Phases = dict[str, list[Rule]]

PHASES = ("on_tcp_connect", "on_http_request", "on_http_response", "on_event_destination")
# `restrict-ips` accepts only addresses in `allow` and not in `deny`: `deny` alone would refuse all.
EVERYBODY = ["0.0.0.0/0", "::/0"]
LARGEST_FILE = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Policy:
    """The document; it holds passwords, so `repr` does not show it."""

    phases: Phases = field(repr=False)

    def as_json(self) -> str:
        """Ngrok takes JSON, which is YAML too."""
        return json.dumps(self.phases, indent=1)

    def actions(self) -> Iterator[Rule]:
        """Every action of every rule, in order."""
        for rules in self.phases.values():
            for rule in rules:
                yield from (each for each in rule.get("actions", ()) if isinstance(each, dict))

    def secrets(self) -> list[SecretStr]:
        """The values of keys that sound secret, to be masked in all output."""
        return [SecretStr(text) for text in _secrets_in(self.phases)]


def build(config: NgrokConfig) -> Policy | None:
    """The policy that the keys ask for; None when none does.

    Raises ConfigError when `traffic_policy` is not one, or its file cannot be read.
    """
    phases: Phases = {}
    ours = [*_networks(config), *_webhook(config), *_basic_auth(config), *_login(config)]
    if ours:
        phases["on_http_request"] = ours
    for phase, rules in _users(config).items():
        phases.setdefault(phase, []).extend(rules)
    return Policy(phases) if phases else None


def _action(kind: str, **config: object) -> Rule:
    kept = {key: value for key, value in config.items() if value not in (None, [])}
    return {"type": kind, "config": kept} if kept else {"type": kind}


def _networks(config: NgrokConfig) -> Iterator[Rule]:
    if config.allow_cidrs or config.deny_cidrs:
        allow = config.allow_cidrs or EVERYBODY
        yield {
            "actions": [_action("restrict-ips", enforce=True, allow=allow, deny=config.deny_cidrs)]
        }


def _webhook(config: NgrokConfig) -> Iterator[Rule]:
    if (webhook := config.verify_webhook) is not None:
        secret = webhook.secret.get_secret_value()
        yield {"actions": [_action("verify-webhook", provider=webhook.provider, secret=secret)]}


def _basic_auth(config: NgrokConfig) -> Iterator[Rule]:
    if config.basic_auth:
        pairs = [pair.get_secret_value() for pair in config.basic_auth]
        yield {"actions": [_action("basic-auth", credentials=pairs)]}


def _login(config: NgrokConfig) -> Iterator[Rule]:
    if config.oauth is not None:
        yield {"actions": [_oauth(config.oauth)]}
        yield from _only(config.oauth, "actions.ngrok.oauth.identity.email")
    if config.oidc is not None:
        yield {"actions": [_oidc(config.oidc)]}
        yield from _only(config.oidc, "actions.ngrok.oidc.identity.email")


def _oauth(login: OAuthConfig) -> Rule:
    secret = None if login.client_secret is None else login.client_secret.get_secret_value()
    return _action(
        "oauth",
        provider=login.provider,
        client_id=login.client_id,
        client_secret=secret,
        scopes=login.scopes,
    )


def _oidc(login: OidcConfig) -> Rule:
    # The page is called "oidc"; the action's type is this.
    return _action(
        "openid-connect",
        issuer_url=login.issuer_url,
        client_id=login.client_id,
        client_secret=login.client_secret.get_secret_value(),
        scopes=login.scopes,
    )


def _only(login: LoginConfig, email: str) -> Iterator[Rule]:
    """Deny all other visitors: a rule acts when all of its expressions are true."""
    # Validation leaves no character in the names that could end the literal.
    none_of = [f"!{email}.endsWith('@{domain}')" for domain in login.allow_domains]
    none_of += [f"{email} != '{address}'" for address in login.allow_emails]
    if none_of:
        yield {"expressions": none_of, "actions": [_action("deny")]}


def _users(config: NgrokConfig) -> Phases:
    source = config.traffic_policy
    if source is None:
        return {}
    where = "tunnel.ngrok.traffic_policy"
    if isinstance(source, str):
        where, source = f"{where} ({source})", _read(source, where)
    if not isinstance(source, dict) or not source:
        raise ConfigError(f"{where}: not a traffic policy; it needs one of {', '.join(PHASES)}")
    for phase, rules in source.items():
        if phase not in PHASES:
            raise ConfigError(f"{where}: unknown phase {phase!r}; known: {', '.join(PHASES)}")
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise ConfigError(f"{where}: {phase} is not a list of rules")
    return source


def _read(path: str, where: str) -> Any:
    path = expand_home(path, where)
    try:
        with open(trust.open_file(path), encoding="utf-8") as file:
            text = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{where}: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: {path} is not UTF-8 text") from None
    if len(text) > LARGEST_FILE:
        raise ConfigError(f"{where}: {path} is larger than any traffic policy (1 MiB)")
    try:
        return yaml12.load(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {path}: {error}") from None


def _secrets_in(value: object, *, under_secret: bool = False) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            secret = under_secret or sounds_secret(str(key))
            yield from _secrets_in(inner, under_secret=secret)
    elif isinstance(value, list):
        for inner in value:
            yield from _secrets_in(inner, under_secret=under_secret)
    elif isinstance(value, str) and under_secret:
        yield value
        user, colon, password = value.partition(":")
        if user and colon:
            yield password
