"""`[tunnel.cloudflare]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from prx_tunnel_cloudflare.credentials import Credentials, check_token, load_credentials
from prx_tunnel_core.config import BackendConfig, ConfigModel, Port, Seconds
from prx_tunnel_core.urls import normalise

Kind = Literal["quick", "remote", "local"]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_FLAG = re.compile(r"--(?P<name>[a-z0-9][a-z0-9-]*)(=.*)?", re.DOTALL)
_TEAM = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_TEAM_DOMAIN = ".cloudflareaccess.com"

# Set by this backend or by one of its keys, or makes cloudflared do something other than run.
_NOT_EXTRA = frozenset({
    "autoupdate-freq", "bastion", "config", "cred-contents", "cred-file",
    "credentials-contents", "credentials-file", "edge-ip-version", "force", "grace-period",
    "h", "hello-world", "help", "hostname", "is-autoupdated", "lb-pool", "loglevel",
    "max-edge-addr-retries", "metrics", "n", "name", "no-autoupdate", "output",
    "overwrite-dns", "p", "protocol", "proxy-dns", "socks5", "token", "token-file",
    "unix-socket", "url", "v", "version",
})  # fmt: skip


EXAMPLE = """\
# Without any key: a quick tunnel. It needs no account, and gets a new name at each start.

# A named tunnel of your account, with a stable URL. The dashboard (Zero Trust > Networks >
# Tunnels) shows its token, and routes the hostname to it.
# token = "${CLOUDFLARE_TUNNEL_TOKEN}"
# hostname = "agent.example.com"

# On a network that blocks UDP: "http2".
# protocol = "auto"
"""


class AccessConfig(ConfigModel):
    """`[tunnel.cloudflare.access]`: the settings of `prx_tunnel_cloudflare.access`."""

    team: str
    """The team name: the part before `.cloudflareaccess.com`."""
    audience: str | list[str]
    """The application's audience (AUD) tag, or several."""

    @field_validator("team")
    @classmethod
    def _name(cls, team: str) -> str:
        return team_name(team)

    @field_validator("audience")
    @classmethod
    def _some(cls, audience: str | list[str]) -> str | list[str]:
        if not audience or not all(audience):
            raise ValueError("use the audience tag that the Access application shows")
        return audience


class CloudflareConfig(BackendConfig):
    """A quick tunnel by default, a named one with a token or with credentials."""

    key_hints: ClassVar[Mapping[str, str]] = {
        "cloudflared_path": "program",
        "grace_period_secs": "grace_period",
    }

    # The first fallback from QUIC comes after about 12 s, a silent registration has 5 s for each
    # attempt, and finding the reason of a refusal takes a separate run.
    connect_timeout: Seconds | None = 90.0

    token: SecretStr | None = None
    token_file: str | None = None
    credentials_file: str | None = None
    tunnel_id: str | None = None
    hostname: str | None = None
    protocol: Literal["auto", "quic", "http2"] = "auto"
    edge_ip_version: Literal["auto", "4", "6"] = "auto"
    grace_period: Annotated[float, Field(ge=0, le=180)] = 30.0
    """Seconds that requests in flight have to finish when the tunnel stops."""
    metrics_port: Port | None = None
    """The port of cloudflared's metrics server; any free port by default."""
    program: str = "cloudflared"
    extra_args: list[str] = Field(default_factory=list)
    access: AccessConfig | None = None

    @field_validator("token")
    @classmethod
    def _token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None:
            check_token(token.get_secret_value())
        return token

    @field_validator("tunnel_id")
    @classmethod
    def _uuid(cls, tunnel_id: str | None) -> str | None:
        if tunnel_id is not None and not _UUID.fullmatch(tunnel_id):
            raise ValueError("use the tunnel's UUID, as `cloudflared tunnel list` shows it")
        return tunnel_id

    @field_validator("hostname")
    @classmethod
    def _bare(cls, hostname: str | None) -> str | None:
        return None if hostname is None else bare_hostname(hostname)

    @field_validator("extra_args")
    @classmethod
    def _flags(cls, arguments: list[str]) -> list[str]:
        for argument in arguments:
            flag = _FLAG.fullmatch(argument)
            if flag is None:
                raise ValueError("write each argument as --flag or --flag=value")
            if flag["name"] in _NOT_EXTRA:
                raise ValueError(f"--{flag['name']} is set by this backend; use its own keys")
        return arguments

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file cannot be combined; keep one")
        credentials = (self.credentials_file, self.tunnel_id)
        if self.kind == "remote" and any(credentials):
            raise ValueError(
                "a token is for a remotely managed tunnel, credentials_file and tunnel_id are for "
                "a locally managed one; keep one of the two"
            )
        if any(credentials) and not all((*credentials, self.hostname)):
            raise ValueError(
                "a locally managed tunnel needs all of credentials_file, tunnel_id and hostname"
            )
        if self.kind == "quick" and self.hostname is not None:
            raise ValueError(
                "the name of a quick tunnel is random; a hostname needs a token, or "
                "credentials_file and tunnel_id"
            )
        return self

    @property
    def kind(self) -> Kind:
        if self.token is not None or self.token_file is not None:
            return "remote"
        return "quick" if self.credentials_file is None else "local"

    def known_url(self) -> str | None:
        return None if self.hostname is None else f"https://{self.hostname}"

    def load_credentials(self) -> Credentials:
        """The token, or the secret of the credentials file. Raises SetupError."""
        return load_credentials(
            token=self.token,
            token_file=self.token_file,
            credentials_file=self.credentials_file,
            tunnel_id=self.tunnel_id,
        )


def bare_hostname(text: str) -> str:
    """The host name in lower case; ValueError when it is none, or more than that."""
    if any(sign in text for sign in "/:*") or "." not in text.strip("."):
        raise ValueError("use a bare host name such as agent.example.com")
    name = normalise(f"https://{text}", schemes=("https",)).removeprefix("https://")
    if name.rsplit(".", 1)[-1].isdigit():
        raise ValueError("use a host name, not an address")
    return name


def team_name(team: str) -> str:
    """The part before `.cloudflareaccess.com`, also when the whole address is given.

    Raises ValueError for anything else: it could make another server the source of the keys.
    """
    name = team.removeprefix("https://").removesuffix("/").removesuffix(_TEAM_DOMAIN)
    if not _TEAM.fullmatch(name):
        raise ValueError(
            f"team: {team!r} is not a team name; use the part before {_TEAM_DOMAIN}, in lower case"
        )
    return name
