"""`[tunnel.ngrok]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Network, ip_network
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from prx_tunnel_core.config import BackendConfig, ConfigModel, Port

# What goes into an expression of the traffic policy must not be able to end its string literal.
_EMAIL = re.compile(r"[A-Za-z0-9.!#%&*+/=?^_~-]+@[A-Za-z0-9.-]+")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")

EXAMPLE = """\
# Your token is in the dashboard of ngrok, under "Your Authtoken". Without this key: the variable
# NGROK_AUTHTOKEN, else what `ngrok config add-authtoken` has stored.
# authtoken = "${NGROK_AUTHTOKEN}"

# A stable name; without it, ngrok assigns one.
# domain = "my-agent.ngrok-free.app"
"""

Text = Annotated[str, Field(min_length=1)]


class LoginConfig(ConfigModel):
    """Which visitors get in after logging in: all of them without a domain or an e-mail address."""

    allow_domains: list[str] = Field(default_factory=list)
    """Domains of e-mail addresses: `"example.com"` lets `anyone@example.com` in."""
    allow_emails: list[str] = Field(default_factory=list)
    scopes: list[Text] = Field(default_factory=list)

    @field_validator("allow_domains")
    @classmethod
    def _domains(cls, domains: list[str]) -> list[str]:
        return [_host_name(domain.removeprefix("@")) for domain in domains]

    @field_validator("allow_emails")
    @classmethod
    def _emails(cls, emails: list[str]) -> list[str]:
        for email in emails:
            if not _EMAIL.fullmatch(email):
                raise ValueError("not an e-mail address")
        return emails


class OAuthConfig(LoginConfig):
    """`[tunnel.ngrok.oauth]`: visitors log in at an OAuth provider."""

    provider: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    """`google`, `github`, `gitlab`, `linkedin`, `microsoft`, `twitch`… as ngrok names them."""
    client_id: Text | None = None
    client_secret: SecretStr | None = None

    @model_validator(mode="after")
    def _own_application(self) -> Self:
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("client_id and client_secret go together: set both, or neither")
        return self


class OidcConfig(LoginConfig):
    """`[tunnel.ngrok.oidc]`: visitors log in at an OpenID Connect provider."""

    issuer_url: Annotated[str, Field(pattern=r"^https://[^\s]+$")]
    client_id: Text
    client_secret: SecretStr


class WebhookConfig(ConfigModel):
    """`[tunnel.ngrok.verify_webhook]`: ngrok checks the signature of every request."""

    provider: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    """`github`, `stripe`, `slack`… as ngrok names them."""
    secret: SecretStr


class NgrokConfig(BackendConfig):
    """`[tunnel.ngrok]`."""

    key_hints: ClassVar[Mapping[str, str]] = {"auth_token": "authtoken", "ngrok_path": "program"}

    authtoken: SecretStr | None = None
    """When not set: `NGROK_AUTHTOKEN` of the environment, else what ngrok's own file says."""
    domain: str | None = None
    """The public host name; without it, ngrok assigns one."""
    pooling: bool = False
    """Share the domain with other agents, instead of failing when one is online."""
    basic_auth: list[SecretStr] = Field(default_factory=list, max_length=10)
    """`"user:password"`, the password with 8 to 128 characters."""
    oauth: OAuthConfig | None = None
    oidc: OidcConfig | None = None
    allow_cidrs: list[str] = Field(default_factory=list)
    deny_cidrs: list[str] = Field(default_factory=list)
    verify_webhook: WebhookConfig | None = None
    traffic_policy: dict[str, Any] | Text | None = Field(default=None, repr=False)
    """More rules, after those of the keys above: a table, or the path of a YAML or JSON file."""
    program: Text = "ngrok"
    config_file: Text | None = None
    """ngrok's own configuration file; where ngrok itself looks for it when not set."""
    inspector: bool = True
    """Whether the agent shows requests on a local web page, on 127.0.0.1 only."""
    inspector_port: Port | None = None
    """The page's port; a free one when not set."""

    @field_validator("domain")
    @classmethod
    def _domain(cls, domain: str | None) -> str | None:
        return None if domain is None else _host_name(domain)

    @field_validator("allow_cidrs", "deny_cidrs")
    @classmethod
    def _networks(cls, networks: list[str]) -> list[str]:
        try:
            return [_network(network) for network in networks]
        except ValueError:
            raise ValueError('write networks as "203.0.113.0/24" or "2001:db8::/32"') from None

    @field_validator("basic_auth")
    @classmethod
    def _credentials(cls, pairs: list[SecretStr]) -> list[SecretStr]:
        for pair in pairs:
            user, colon, password = pair.get_secret_value().partition(":")
            if not user or not colon or not 8 <= len(password) <= 128:
                raise ValueError('write "user:password", the password with 8 to 128 characters')
        return pairs

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.oauth is not None and self.oidc is not None:
            raise ValueError("oauth and oidc: visitors can log in at one of them; remove the other")
        if self.inspector_port is not None and not self.inspector:
            raise ValueError("inspector_port is set but inspector = false; remove one of them")
        return self

    def known_url(self) -> str | None:
        return None if self.domain is None else f"https://{self.domain}"


def _host_name(name: str) -> str:
    """The name in lower case; ValueError says in words what else it looks like."""
    lower = name.lower().removesuffix(".")
    if "://" in lower or "/" in lower or ":" in lower:
        raise ValueError("a host name only, without scheme, port and path")
    if "*" in lower:
        raise ValueError("a wildcard has no single URL; name one of its hosts")
    if lower.endswith(".internal"):
        raise ValueError("an .internal endpoint cannot be reached from outside")
    if not _DOMAIN.fullmatch(lower) or len(lower) > 253:
        raise ValueError("not a host name")
    return lower


def _network(text: str) -> str:
    # Not strict: "203.0.113.7/24" is its network, as people mean it.
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError("visitors with IPv4 addresses are not in ::ffff:0:0/96 for ngrok")
    return str(network)
