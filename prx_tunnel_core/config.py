"""What may be set, and what each setting may be."""

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
from prx_tunnel_core.expansion import Expanded, WholeVariable, shown_key
from prx_tunnel_core.text import MASK, SHORTEST_SECRET, sounds_secret

_BACKEND_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65_535)]

# Services that a stranger must never reach by a slip of the keyboard: databases, container and
# debugger ports, metrics and admin interfaces.
SENSITIVE_PORTS = frozenset({
    2375, 2376, 2379, 2380, 3306, 3389, 4040, 5432, 5900, 6379, 6443, 8001,
    9200, 9229, 10250, 11211, 11434, 27017,
})  # fmt: skip

# Networks instead of `is_loopback`, which depends on the release of Python for ::ffff:127.0.0.1.
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class ConfigModel(BaseModel):
    """The base of every table: strict, frozen, without unknown keys, without values in errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    key_hints: ClassVar[Mapping[str, str]] = {}
    """What to say about keys that other tools have: the name of the key to use here, or a sentence.

    An unknown key gets the hint, instead of a guess by its spelling: with `{"path": "program"}`,
    `unknown key 'path'; did you mean 'program'?`. A subclass adds to the hints of its bases.
    """

    @field_validator("*", mode="wrap")
    @classmethod
    def _read(
        cls, value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> object:
        """Read a value that was nothing but one `${…}` as its field's type."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, WholeVariable):
            adapter: TypeAdapter[Any] = TypeAdapter(field.annotation or Any)
            value = adapter.validate_strings(str(value))
        result = handler(value)
        if isinstance(result, SecretStr):
            _check_secret(result)
        return result


class BackendConfig(ConfigModel):
    """The base of a backend's table `[tunnel.<name>]`."""

    key_hints: ClassVar[Mapping[str, str]] = {"startup_timeout_secs": "connect_timeout"}

    connect_timeout: Seconds | None = None
    """Seconds that one attempt may take; see `TunnelConfig.timeout_of`."""

    def known_url(self) -> str | None:
        """The public URL, where the settings alone decide it."""
        return None

    def server_on_loopback(self) -> bool:
        """Whether the tunnel's server is on this very machine, so that being offline is no excuse.

        Called after a failed attempt: attempts made while the host has no network are not counted.
        """
        return False


class ReconnectConfig(ConfigModel):
    enabled: bool = True
    max_attempts: Annotated[int, Field(ge=0, le=2**32 - 1)] = 10
    """Attempts after a drop or a failed start before the tunnel gives up; 0: without limit."""
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
    """`[gateway]`: the agent's own server. Other keys of the table are the agent's business."""

    model_config = ConfigDict(extra="ignore")

    port: Port | None = None
    command: str | list[str] | None = None


class TunnelConfig(ConfigModel):
    """`[tunnel]`; every table in it that is not `reconnect` belongs to the backend of its name."""

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
    local_port: Port = 3000
    local_host: str = "127.0.0.1"
    auto_start: bool = True
    health_check_interval: Annotated[Seconds, Field(ge=1)] = 30.0
    health_check_failures: Annotated[int, Field(ge=1, le=1000)] = 3
    health_check_url: bool = True
    connect_timeout: Seconds = 60.0
    allow_sensitive_port: bool = False
    reconnect: ReconnectConfig = ReconnectConfig()

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        # The backends' tables are not validated yet: a secret in them is still plain text.
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
            return "127.0.0.1"  # a program may resolve it to ::1, where nothing listens
        if "%" in host:
            raise ValueError("a loopback address has no zone; leave out the % and what follows it")
        try:
            address = ip_address(host)
        except ValueError:
            address = None
        # Nothing that stands for such an address, either: programs differ in what they make of it.
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
                "set allow_sensitive_port = true if you mean it"
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
        """`[tunnel.<backend>]` as it was written (expanded, not yet validated)."""
        table: Mapping[str, Any] = (self.model_extra or {}).get(backend, {})
        return table


ConfigLike: TypeAlias = TunnelConfig | Mapping[str, Any] | None
"""The `[tunnel]` table, validated or as a mapping; None for the defaults of the callee."""


def _check_secret(secret: SecretStr) -> None:
    value = secret.get_secret_value()
    if len(value.strip()) < SHORTEST_SECRET:
        raise ValueError(f"a secret has at least {SHORTEST_SECRET} characters")
    if "\x00" in value:
        raise ValueError("a secret has no NUL character")


ConfigT = TypeVar("ConfigT", bound=ConfigModel)


def validate(model: type[ConfigT], table: Mapping[str, Any], *, path: str) -> ConfigT:
    """The table as a value of its model; raises ConfigError with every reason, never a value."""
    try:
        return model.model_validate(dict(table))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
    del table  # a traceback that shows variables would show its secrets
    # Outside of `except`: as the context, the original would carry the table and every secret.
    reasons = [_explain(each, model, path) for each in details[:MOST_REASONS]]
    if len(details) > MOST_REASONS:
        reasons.append(f"{path}: and {len(details) - MOST_REASONS} more")
    raise ConfigError("\n".join(dict.fromkeys(reasons)))


MOST_REASONS = 20  # in one message
LONGEST_REASON = 1000  # characters

# Of a union, pydantic says which member it tried: `command.str`, `command.list[str]`.
_TYPE_LABEL = re.compile(r"str|int|float|bool|none|.*[\[(].*")


def _explain(detail: ErrorDetails, model: type[ConfigModel], path: str) -> str:
    location = [shown_key(str(part)) for part in detail["loc"]]
    if detail["type"] == "extra_forbidden":
        owner = _model_at(model, location[:-1])
        return f"{'.'.join([path, *location[:-1]])}: {_unknown_key(location[-1], owner)}"
    key = ".".join([path, *(part for part in location if not _TYPE_LABEL.fullmatch(part))])
    reason = detail["msg"].removeprefix("Value error, ")[:LONGEST_REASON]
    return f"{key}: {reason[0].lower()}{reason[1:]}"


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


def literal_secrets(settings: ConfigModel, table: Mapping[str, Any], *, path: str) -> list[str]:
    """The key paths of secrets that stand in the file itself, instead of coming by `${…}`.

    `table` is what `settings` was made of.
    """
    found: list[str] = []
    for name, inner in settings:
        value, field = table.get(name), type(settings).model_fields.get(name)
        if isinstance(inner, ConfigModel) and isinstance(value, Mapping):
            found += literal_secrets(inner, value, path=f"{path}.{name}")
        elif field is not None and "SecretStr" in str(field.annotation):
            # A table of variables for a program holds more than secrets: their names tell.
            named = value if isinstance(value, Mapping) else {}
            found += [
                f"{path}.{name}.{key}"
                for key, item in named.items()
                if sounds_secret(key) and _is_literal(item)
            ]
            if _is_literal(value):
                found.append(f"{path}.{name}")
    return found


def _is_literal(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, Expanded)


def secrets_of(settings: BaseModel) -> list[str]:
    """Every secret in the settings and in what they hold, in plain text: for a redactor only."""
    found: list[str] = []
    for _, value in settings:
        found += _secrets_in(value)
    return found


def _secrets_in(value: object) -> list[str]:
    match value:
        case SecretStr():
            return [value.get_secret_value()]
        case BaseModel():
            return secrets_of(value)
        case Mapping():
            return [secret for item in value.values() for secret in _secrets_in(item)]
        case list() | tuple() | set() | frozenset():
            return [secret for item in value for secret in _secrets_in(item)]
        case _:
            return []
