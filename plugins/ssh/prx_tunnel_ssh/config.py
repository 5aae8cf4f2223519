"""`[tunnel.ssh]`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from prx_tunnel_core.config import BackendConfig, Port, Seconds
from prx_tunnel_core.programs import compile_pattern
from prx_tunnel_core.urls import is_loopback, normalise

ANY_HOST_KEY = "insecure-accept-any-host-key"
"""The value of `known_hosts` that disables the verification of the server."""

DEFAULT_KNOWN_HOSTS = "~/.ssh/known_hosts"


EXAMPLE = """\
# Without `host`: an SSH relay inside prx, which only this machine can reach. For trying it out.

# A public URL without an account, from a service that speaks SSH:
# host = "localhost.run"
# username = "nokey"
# remote_port = 80
# url_pattern = '(https://[a-z0-9-]+\\.lhr\\.life)'

# A server of your own, with Caddy or nginx in front of the port that it forwards:
# host = "hooks.example.com"
# username = "tunnel"
# identity_file = "~/.ssh/tunnel"
# remote_port = 20001
# public_url = "https://hooks.example.com"
"""


class SshConfig(BackendConfig):
    host: str | None = None
    """The SSH server; without one, a relay inside this process is used."""
    port: Port = 22
    username: str | None = None
    """The user on the server; the local user's name when not set."""
    identity_file: str | None = None
    """A private key; or a public key (`.pub`), whose private half is in the agent."""
    password: SecretStr | None = None
    agent: bool | str | None = None
    """Whether to ask the agent of `$SSH_AUTH_SOCK`, or the path of another agent's socket.

    When not set, the agent is asked unless there is an `identity_file` or a `password`.
    """
    known_hosts: str = DEFAULT_KNOWN_HOSTS
    remote_host: str | None = None
    """The address that the server listens on; some servers read a wanted name in it."""
    remote_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """The port that the server listens on; 0: the server chooses."""
    public_url: str | None = None
    """The URL of the proxy in front of the server; `{port}` is the forwarded port."""
    url_pattern: str | None = None
    """A regular expression (RE2) with one group: the URL in the server's output."""
    keepalive_interval: Seconds = 15.0
    """Seconds; a server that is silent for `keepalive_interval * keepalive_count` is lost."""
    keepalive_count: Annotated[int, Field(ge=1, le=100)] = 3

    @field_validator("host", "username", "remote_host")
    @classmethod
    def _plain(cls, value: str | None) -> str | None:
        if value is not None and (not value.isprintable() or any(c in value for c in " @/\\,")):
            raise ValueError("use a plain name or address, without user, port or white space")
        if value is not None and value.startswith("-"):
            raise ValueError(f"{value!r} is an option, not a name or address; remove the -")
        return value

    @field_validator("identity_file", "known_hosts", "agent")
    @classmethod
    def _whole_path(cls, path: str | bool | None) -> str | bool | None:
        whole = ("/", "~", ANY_HOST_KEY)
        if isinstance(path, str) and path and not path.startswith(whole):
            # A detached tunnel runs in another directory than the terminal that started it.
            raise ValueError(f"{path!r} depends on the working directory; write the whole path")
        return path

    @field_validator("host", "username", "identity_file", "known_hosts")
    @classmethod
    def _not_empty(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is empty; remove the key or give it a value")
        return value

    @field_validator("public_url")
    @classmethod
    def _usable_url(cls, url: str | None) -> str | None:
        if url is not None:
            normalise(url.replace("{port}", "65535"))
        return url

    @field_validator("url_pattern")
    @classmethod
    def _usable_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None and compile_pattern(pattern).groups != 1:
            raise ValueError("put parentheses around the URL, and around nothing else: (https://…)")
        return pattern

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.host is None:
            ours = {"connect_timeout", "remote_port", "keepalive_interval", "keepalive_count"}
            foreign = sorted(self.model_fields_set - ours - {"host"})
            if foreign:
                raise ValueError(f"host is missing: without it, {foreign[0]} has no meaning")
        if self.public_url is not None and self.url_pattern is not None:
            raise ValueError("public_url and url_pattern both determine the URL; keep one")
        if self.public_url is not None and "{port}" not in self.public_url and not self.remote_port:
            raise ValueError(
                "public_url has no {port}, so remote_port has to name the port that it leads to"
            )
        return self

    def known_url(self) -> str | None:
        fixed = self.public_url is not None and (
            self.remote_port or "{port}" not in self.public_url
        )
        return self.url_of(self.remote_port) if fixed else None

    def server_on_loopback(self) -> bool:
        return self.host is None or is_loopback(self.host)

    @property
    def listen_host(self) -> str:
        """The address asked of the server.

        Where something stands in front of the server, its loopback is enough: one address of it,
        because for `localhost` OpenSSH takes both 127.0.0.1 and ::1 and is content with either,
        although another program may have the port on the one that is used. Where the port itself
        is public, the server has to listen everywhere: an empty host (RFC 4254, section 7.1).
        """
        if self.remote_host is not None:
            return self.remote_host
        if self.url_pattern is not None:
            return "localhost"  # what OpenSSH's client says, for servers that are none
        if self.public_url is not None or self.server_on_loopback():
            return "::1" if self.host == "::1" else "127.0.0.1"
        return ""

    def url_of(self, port: int) -> str:
        """The public URL when `port` was forwarded and the server announces none."""
        if self.public_url is not None:
            return normalise(self.public_url.replace("{port}", str(port)))
        host = f"[{self.host}]" if ":" in (self.host or "") else self.host
        return normalise(f"http://{host}:{port}")
