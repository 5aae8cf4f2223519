"""`[tunnel.custom]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from prx_tunnel_core.config import BackendConfig, Seconds
from prx_tunnel_core.expansion import Expanded
from prx_tunnel_core.text import sounds_secret
from prx_tunnel_core.urls import ANY_URL, is_loopback
from prx_tunnel_custom import command as commands
from prx_tunnel_custom.announcement import Announcement, ready_in_anything
from prx_tunnel_custom.pattern import check_url_text, read_pattern

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

EXAMPLE = """\
# The program; {port} and {host} are replaced by the local port and address.
command = "bore local {port} --to bore.pub"

# Finds the URL in its output: a part of the URL, or a regular expression with one group.
url_pattern = "bore.pub"

# Variables for the program, such as tokens: a command is visible to every user of this machine.
# env = { BORE_SECRET = "${BORE_SECRET}" }
"""
_SHORT_EXAMPLE = "\n[tunnel.custom]\n" + "\n".join(
    line for line in EXAMPLE.splitlines() if line.startswith(("command", "url_pattern"))
)


class CustomConfig(BackendConfig):
    key_hints: ClassVar[Mapping[str, str]] = {"start_command": "command"}

    command: tuple[str, ...] = ()
    """The program and its arguments; `{port}` and `{host}` stand for the local target."""
    env: dict[str, Annotated[str | SecretStr, Field(union_mode="left_to_right")]] = Field(
        default_factory=dict
    )
    """Variables for the program, in addition to the few that every program gets."""
    url_pattern: str | None = None
    """Where the program's output has the URL: text inside of it, or an expression with a group."""
    url_scheme: Literal["http", "https", "ws", "wss", "tcp", "tls"] = "http"
    """The scheme of a match that has none."""
    url_host: str | None = None
    """The host of a match that is only a port number."""
    public_url: str | None = None
    """The URL, when it is known in advance; it is then not searched for in the output."""
    ready_pattern: str | None = None
    """Text or a regular expression in the output once the tunnel is up."""
    stop_grace: Seconds = 5.0
    """Seconds between TERM and KILL when the tunnel stops."""

    @field_validator("command", mode="before")
    @classmethod
    def _words(cls, command: object) -> tuple[str, ...]:
        return commands.words(command)

    @field_validator("env", mode="before")
    @classmethod
    def _variables(cls, env: object) -> dict[str, str | SecretStr]:
        if not isinstance(env, dict):
            raise ValueError('write a table: env = { NAME = "value" }')  # noqa: TRY004 - a setting
        return {name: _variable(name, value) for name, value in env.items()}

    @field_validator("public_url")
    @classmethod
    def _valid_url(cls, url: str | None) -> str | None:
        return None if url is None else ANY_URL.accept(url)

    @field_validator("url_host")
    @classmethod
    def _valid_host(cls, host: str | None) -> str | None:
        if host is None:
            return None
        bracketed = f"[{host}]" if ":" in host else host
        return urlsplit(ANY_URL.accept(f"http://{bracketed}")).netloc

    @field_validator("url_pattern")
    @classmethod
    def _usable_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            read_pattern(pattern)
            check_url_text(pattern)
        return pattern

    @field_validator("ready_pattern")
    @classmethod
    def _usable_ready_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None and ready_in_anything(read_pattern(pattern)):
            raise ValueError("it matches any line; name the words that say the tunnel is up")
        return pattern

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.command and self.public_url is None:
            raise ValueError(
                f"it needs a command, or the public_url of a tunnel. Write:{_SHORT_EXAMPLE}"
            )
        if not self.command:
            without = sorted(self.model_fields_set & {"env", "url_pattern", "ready_pattern"})
            if without:
                raise ValueError(f"{without[0]} has no meaning without command")
        elif (self.public_url is None) == (self.url_pattern is None):
            raise ValueError(
                "give exactly one of url_pattern (the URL is in the program's output) "
                "and public_url (it is known beforehand)"
            )
        if self.url_pattern is not None and self.announcement().takes_anything():
            raise ValueError(
                "url_pattern matches any URL, also the link to a manual; name the host in it, "
                r"(https://\S+\.example\.com), or the words before it, url is (\S+)"
            )
        return self

    def announcement(self) -> Announcement:
        """How the program announces its URL; only when there is a `url_pattern`."""
        return Announcement(read_pattern(self.url_pattern or ""), self.url_scheme, self.url_host)

    def known_url(self) -> str | None:
        return self.public_url

    def server_on_loopback(self) -> bool:
        hosts = [urlsplit(self.public_url or "").hostname or "", self.url_host or ""]
        return any(map(is_loopback, hosts)) or commands.names_loopback(self.command)


def _variable(name: object, value: object) -> str | SecretStr:
    """The value, as a secret when it comes from `${…}` or its name sounds secret."""
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise ValueError(f"{name!r} is not a variable name; use letters, digits and _")
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(plain, str):
        raise ValueError(f'write the value of {name} in quotes: {name} = "…"')  # noqa: TRY004 - a setting
    if "\x00" in plain:
        raise ValueError(f"the value of {name} has a NUL character")
    masked = value is not plain or isinstance(plain, Expanded)
    secret = masked or sounds_secret(name, in_doubt=True)
    return SecretStr(str(plain)) if secret else plain
