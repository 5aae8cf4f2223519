"""`[tunnel.frp]`."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from prx_tunnel_core import BackendConfig
from prx_tunnel_core.urls import is_loopback, normalise

INSTALL_HINT = "get frpc from https://github.com/fatedier/frp/releases"


class FrpConfig(BackendConfig):
    server: str
    """The host of frps."""
    server_port: Annotated[int, Field(ge=1, le=65_535)] = 7000
    token: SecretStr | None = None
    """frps' `auth.token`."""
    type: Literal["http", "tcp"] = "http"
    domain: str | None = None
    """For `http`: a host name that resolves to frps, which selects the client by it."""
    https: bool = False
    """For `http`: whether a proxy in front of frps serves the domain over HTTPS."""
    remote_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """For `tcp`: the port on frps; with 0, frps chooses one."""
    trusted_ca: str | None = None
    """A file with the CA of frps' certificate; without it, the certificate is not verified."""
    program: str = "frpc"

    @field_validator("server", "domain")
    @classmethod
    def _is_a_host(cls, host: str | None) -> str | None:
        if host is not None:
            normalise(f"http://{f'[{host}]' if ':' in host else host}")
        return host

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.type == "http" and self.domain is None:
            raise ValueError('domain is missing; for a port instead of a name, set type = "tcp"')
        foreign = {"http": {"remote_port"}, "tcp": {"domain", "https"}}[self.type]
        if wrong := sorted(foreign & self.model_fields_set):
            raise ValueError(f'{wrong[0]} has no meaning with type = "{self.type}"')
        return self

    def server_on_loopback(self) -> bool:
        return is_loopback(self.server)
