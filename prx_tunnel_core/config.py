"""The models of the configuration: `[tunnel]`, `[gateway]`, and the bases for those of plugins.

    class HelloConfig(BackendConfig):
        token: SecretStr
        region: Literal["eu", "us"] = "eu"

Every model is strict (a string is no number), frozen, and refuses unknown keys with a suggestion.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, ClassVar, Self, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails

from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.expansion import WholeVariable, shown_key
from prx_tunnel_core.text import MASK, SHORTEST_SECRET

_BACKEND_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65_535)]

# Ports of services that must not become public by a typing error: databases, containers, debuggers,
# metrics and administration.
SENSITIVE_PORTS = frozenset({
    2375, 2376, 2379, 2380, 3306, 3389, 4040, 5432, 5900, 6379, 6443, 8001,
    9200, 9229, 10250, 11211, 11434, 27017,
})  # fmt: skip

# Not `is_loopback`, whose answer for ::ffff:127.0.0.1 differs between releases of Python.
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class ConfigModel(BaseModel):
    """The base of the model of every table."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    key_hints: ClassVar[Mapping[str, str]] = {}
    """Hints for the keys of other tools: the name of the key to use here, or a sentence.

    With `{"path": "program"}`, the error is `unknown key 'path'; did you mean 'program'?`. A
    subclass adds to the hints of its bases.
    """

    @field_validator("*", mode="wrap")
    @classmethod
    def _read(
        cls, value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> object:
        """Convert a value that was exactly one `${…}` to its field's type."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, WholeVariable):
            adapter: TypeAdapter[Any] = TypeAdapter(field.annotation or Any)
            value = adapter.validate_strings(str(value))
        result = handler(value)
        if isinstance(result, SecretStr):
            _check_secret(result)
        return result


class BackendConfig(ConfigModel):
    """The base of the model of a backend's table `[tunnel.<name>]`."""

    key_hints: ClassVar[Mapping[str, str]] = {"startup_timeout_secs": "connect_timeout"}

    connect_timeout: Seconds | None = None
    """Seconds that one attempt may take; see `TunnelConfig.timeout_of`."""

    def known_url(self) -> str | None:
        """The public URL, where the configuration alone determines it; else None."""
        return None

    def server_on_loopback(self) -> bool:
        """Whether the tunnel's server runs on this machine.

        Failed attempts do not count while the machine is offline, unless this returns True.
        """
        return False


class ReconnectConfig(ConfigModel):
    """`[tunnel.reconnect]`."""

    enabled: bool = True
    max_attempts: Annotated[int, Field(ge=0, le=2**32 - 1)] = 10
    """Attempts after a drop or a failed start before the tunnel gives up; 0 means no limit."""
    backoff_base_ms: Annotated[int, Field(ge=1, le=86_400_000)] = 1000
    backoff_max_ms: Annotated[int, Field(ge=1, le=86_400_000)] = 60_000

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.backoff_base_ms > self.backoff_max_ms:
            raise ValueError(
                f"backoff_base_ms ({self.backoff_base_ms}) is greater than "
                f"backoff_max_ms ({self.backoff_max_ms}); lower the one or raise the other"
            )
        return self


class GatewayConfig(ConfigModel):
    """`[gateway]`: the agent's own server. Other keys of the table are left to the agent."""

    model_config = ConfigDict(extra="ignore")

    port: Port | None = None
    command: str | list[str] | None = None


class TunnelConfig(ConfigModel):
    """`[tunnel]`; each table in it, except `reconnect`, belongs to the backend of that name."""

    model_config = ConfigDict(extra="allow")
    key_hints: ClassVar[Mapping[str, str]] = {
        "provider": "backend",
        "tunnel_provider": "backend",
        "local_addr": "local_port",
        "port": "local_port",
        "health_check_interval_secs": "health_check_interval",
        "health_url": "health_check_url",
        "startup_timeout_secs": "connect_timeout",
    }

    backend: str = "cloudflare"
    """The backend to use; `prx tunnel backends` lists those that are installed."""
    local_port: Port = 3000
    """The port that the tunnel leads to."""
    local_host: str = "127.0.0.1"
    """An address of loopback: the tunnel leads to this machine only."""
    auto_start: bool = True
    """Whether a host application starts the tunnel together with itself."""
    health_check_interval: Annotated[Seconds, Field(ge=1)] = 30.0
    """Seconds between the end of one health check and the beginning of the next."""
    health_check_failures: Annotated[int, Field(ge=1, le=1000)] = 3
    """Failed checks in a row after which the tunnel connects anew."""
    health_check_url: bool = True
    """Whether health checks send a request to the public URL."""
    connect_timeout: Seconds = 60.0
    """Seconds that one attempt may take."""
    allow_sensitive_port: bool = False
    """Allow a `local_port` below 1024 or in `SENSITIVE_PORTS`."""
    reconnect: ReconnectConfig = ReconnectConfig()

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        # The tables of backends are not validated yet, so a secret in them is still plain text.
        for name, value in super().__repr_args__():
            yield name, MASK if name in (self.model_extra or {}) else value

    @model_serializer(mode="wrap")
    def _without_tables(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        own: dict[str, Any] = handler(self)
        return {name: value for name, value in own.items() if name in type(self).model_fields}

    @field_validator("backend")
    @classmethod
    def _backend_name(cls, name: str) -> str:
        if not _BACKEND_NAME.fullmatch(name):
            raise ValueError(
                "a backend's name has lower-case letters, digits and hyphens; "
                "`prx tunnel backends` lists those that are installed"
            )
        return name

    @field_validator("local_host")
    @classmethod
    def _loopback(cls, host: str) -> str:
        if host == "localhost":
            return "127.0.0.1"  # a program could resolve it to ::1, where nothing listens
        if "%" in host:
            raise ValueError("a loopback address has no zone; remove the % and the part after it")
        try:
            address = ip_address(host)
        except ValueError:
            address = None
        # Mapped addresses are refused too, because programs read them in different ways.
        if address is None or not any(address in network for network in _LOOPBACK):
            raise ValueError(
                "a tunnel forwards to this machine only; use an address of 127.0.0.0/8 or ::1"
            )
        return str(address)

    @model_validator(mode="after")
    def _tables(self) -> Self:
        for key, value in (self.model_extra or {}).items():
            close = difflib.get_close_matches(key, type(self).model_fields, n=1, cutoff=0.8)
            if not isinstance(value, Mapping) or close:
                raise ValueError(_unknown_key(key, type(self)))
        return self

    @model_validator(mode="after")
    def _exposure(self) -> Self:
        port = self.local_port
        if (port < 1024 or port in SENSITIVE_PORTS) and not self.allow_sensitive_port:
            raise ValueError(
                f"local_port {port} is a port of services that must not be public; "
                "set allow_sensitive_port = true if this is intended"
            )
        return self

    def timeout_of(self, backend: BackendConfig) -> float:
        """Seconds for one attempt: set for the backend, else for the tunnel, else by default."""
        own = backend.connect_timeout
        is_set = "connect_timeout" in backend.model_fields_set
        if own is not None and (is_set or "connect_timeout" not in self.model_fields_set):
            return own
        return self.connect_timeout

    def table(self, backend: str) -> Mapping[str, Any]:
        """The table `[tunnel.<backend>]`, expanded and not yet validated; empty without one."""
        table: Mapping[str, Any] = (self.model_extra or {}).get(backend, {})
        return table


ConfigLike: TypeAlias = TunnelConfig | Mapping[str, Any] | None
"""The `[tunnel]` table, validated or as a mapping; None for the defaults of the callee."""


def _check_secret(secret: SecretStr) -> None:
    value = secret.get_secret_value()
    if len(value.strip()) < SHORTEST_SECRET:
        raise ValueError(f"a secret has at least {SHORTEST_SECRET} characters")
    if "\x00" in value:
        raise ValueError("a secret must not contain a NUL character")


ConfigT = TypeVar("ConfigT", bound=ConfigModel)


def validate(model: type[ConfigT], table: Mapping[str, Any], *, path: str) -> ConfigT:
    """The table as an instance of its model.

    Raises ConfigError with one line per problem: the path of the key below `path`, and the reason.

        config = validate(TunnelConfig, {"backend": "ssh", "local_port": 8000}, path="tunnel")
    """
    try:
        return model.model_validate(dict(table))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
    del table  # or a traceback with local variables would show its secrets
    # Outside of `except`, because the original as the context would hold the table and its secrets.
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in details[:MOST_REASONS]:
        key, reason = _explain(each, model, path)
        # Only a union has several reasons for one key: what it would have taken instead.
        unknown = reason if each["type"] == "extra_forbidden" else ""
        found = reasons.setdefault((key, unknown), [])
        if reason not in found:
            found.append(reason)
    lines = [f"{key}: {', or '.join(found)}" for (key, _), found in reasons.items()]
    if len(details) > MOST_REASONS:
        lines.append(f"{path}: and {len(details) - MOST_REASONS} more")
    raise ConfigError("\n".join(lines))


MOST_REASONS = 20  # in one message
LONGEST_REASON = 1000  # characters

# In an error about a union, pydantic adds the member that it tried: `command.list[str]`.
_TYPE_LABEL = re.compile(r"str|int|float|bool|none|.*[\[(].*")
_TABLE_WANTED = ("model_type", "dict_type")


def _explain(detail: ErrorDetails, model: type[ConfigModel], path: str) -> tuple[str, str]:
    """The path of the key, and what is wrong with it."""
    location = [shown_key(str(part)) for part in detail["loc"]]
    if detail["type"] == "extra_forbidden":
        owner = _model_at(model, location[:-1])
        return ".".join([path, *location[:-1]]), _unknown_key(location[-1], owner)
    key = ".".join([path, *(part for part in location if not _TYPE_LABEL.fullmatch(part))])
    if detail["type"] in _TABLE_WANTED:
        return key, f"it is not a table; write [{key}]"
    reason = detail["msg"].removeprefix("Value error, ")[:LONGEST_REASON]
    return key, f"{reason[0].lower()}{reason[1:]}"


def _model_at(model: type[ConfigModel], location: list[str]) -> type[ConfigModel]:
    for part in location:
        field = model.model_fields.get(part)
        inner = None if field is None else field.annotation
        candidates = [inner, *getattr(inner, "__args__", ())]
        model = next(
            (c for c in candidates if isinstance(c, type) and issubclass(c, ConfigModel)), model
        )
    return model


def _unknown_key(key: str, model: type[ConfigModel]) -> str:
    key, known = shown_key(key), list(model.model_fields)
    hint = _hint(key, model)
    if hint and hint not in known:
        return f"unknown key {key!r}; {hint}"
    for meant in [hint] if hint else difflib.get_close_matches(key, known, n=1):
        return f"unknown key {key!r}; did you mean {meant!r}?"
    return f"unknown key {key!r}; known keys: {', '.join(known)}"


def _hint(key: str, model: type[ConfigModel]) -> str:
    hints = (base.key_hints for base in model.__mro__ if issubclass(base, ConfigModel))
    return next((each[key] for each in hints if key in each), "")
