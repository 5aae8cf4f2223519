"""What may be set; and that no error, representation or copy of a setting shows a secret."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr, ValidationError

from prx_tunnel_core.config import (
    SENSITIVE_PORTS,
    BackendConfig,
    ConfigModel,
    Port,
    ReconnectConfig,
    TunnelConfig,
    validate,
)
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.expansion import Expanded, WholeVariable
from prx_tunnel_core.secrets import literal_secrets, secrets_of
from prx_tunnel_core.text import MASK
from support.fuzz import fuzz

CANARY = "canary-5e5f0a"


class Inner(ConfigModel):
    port: Port = 1
    token: SecretStr | None = None


class Example(BackendConfig):
    """One field of each kind that a backend may have."""

    number: int = 0
    port: Port = 1
    switch: bool = False
    ratio: float = 0.0
    word: str = ""
    maybe: str | None = None
    token: SecretStr | None = None
    password: SecretStr = SecretStr("preset")
    mode: Literal["fast", "slow"] = "fast"
    words: list[str] = Field(default_factory=list)
    either: str | list[str] = ""
    env: dict[str, SecretStr] = Field(default_factory=dict)
    inner: Inner = Inner()


def example(**table: Any) -> Example:
    return validate(Example, table, path="tunnel.example")


def tunnel(**table: Any) -> TunnelConfig:
    return validate(TunnelConfig, table, path="tunnel")


def reason(model: type[ConfigModel], path: str = "tunnel.example", **table: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(model, table, path=path)
    return str(caught.value)


# --- variables are read as their field's type --------------------------------------------------


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("number", "-7", -7), ("port", "8080", 8080), ("switch", "true", True),
        ("switch", "0", False), ("ratio", "1.5", 1.5), ("connect_timeout", "5", 5.0),
        ("word", "3000", "3000"), ("maybe", "x", "x"), ("mode", "slow", "slow"),
        ("either", "a b", "a b"),
    ],
)  # fmt: skip
def test_a_value_that_is_one_variable_is_read_as_its_type(
    field: str, text: str, value: object
) -> None:
    read = getattr(example(**{field: WholeVariable(text)}), field)
    assert read == value
    assert type(read) is type(value)


def test_variables_fill_secrets_lists_and_nested_tables() -> None:
    read = example(
        token=WholeVariable(CANARY),
        password=Expanded(f"x{CANARY}"),
        words=[WholeVariable("a"), "b"],
        env={"TOKEN": WholeVariable(CANARY)},
        inner={"port": WholeVariable("7"), "token": WholeVariable(CANARY)},
    )
    assert read.token == read.inner.token == read.env["TOKEN"] == SecretStr(CANARY)
    assert read.password == SecretStr(f"x{CANARY}")
    assert read.words == ["a", "b"]
    assert read.inner.port == 7


@pytest.mark.parametrize("field", ["number", "port", "switch", "ratio", "mode", "words", "inner"])
def test_a_variable_of_the_wrong_kind_is_an_error_without_its_value(field: str) -> None:
    said = reason(Example, **{field: WholeVariable(CANARY)})
    assert said.startswith(f"tunnel.example.{field}: ")
    assert CANARY not in said


@pytest.mark.parametrize(
    ("field", "text"),
    [("port", "0"), ("port", "65536"), ("ratio", "nan"), ("ratio", "inf"), ("connect_timeout", "0"),
     ("connect_timeout", "-1"), ("port", ""), ("number", "9" * 5000)],
)  # fmt: skip
def test_a_variable_is_bounded_like_a_literal(field: str, text: str) -> None:
    assert reason(Example, **{field: WholeVariable(text)}).startswith(f"tunnel.example.{field}: ")


# --- literals are strict -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("local_port", True), ("local_port", 3000.0), ("local_port", "3000"), ("local_port", 0),
        ("local_port", -1), ("local_port", 65_536), ("local_port", 2**64), ("local_port", None),
        ("local_port", [3000]), ("local_port", Expanded("3000")),
        ("auto_start", 1), ("auto_start", "true"), ("backend", 3), ("backend", "../x"),
        ("backend", ""), ("backend", "Ngrok"), ("backend", "n\u0261rok"), ("backend", "a\n"),
        ("backend", "a" * 33), ("health_check_interval", 0), ("health_check_interval", 0.5),
        ("health_check_interval", float("nan")), ("health_check_interval", float("inf")),
        ("health_check_interval", "30"), ("health_check_interval", 10**6),
        ("health_check_failures", 0), ("connect_timeout", 0), ("reconnect", []),
        ("reconnect", {"enabled": "yes"}), ("reconnect", {"max_attempts": -1}),
        ("reconnect", {"max_attempts": 2**32}), ("reconnect", {"backoff_base_ms": 0}),
    ],
)  # fmt: skip
def test_a_literal_of_the_wrong_type_or_range_names_its_key(field: str, value: object) -> None:
    assert reason(TunnelConfig, "tunnel", **{field: value}).startswith(f"tunnel.{field}")


def test_the_defaults_are_the_documented_ones() -> None:
    config = tunnel()
    assert (config.backend, config.local_port, config.auto_start) == ("cloudflare", 3000, True)
    assert config.health_check_interval == 30
    assert config.reconnect == ReconnectConfig(
        enabled=True, max_attempts=10, backoff_base_ms=1000, backoff_max_ms=60_000
    )


def test_a_whole_number_of_seconds_is_a_time() -> None:
    assert tunnel(health_check_interval=30, connect_timeout=5).connect_timeout == 5.0


def test_settings_cannot_be_changed() -> None:
    config = tunnel()
    with pytest.raises(ValidationError):
        config.local_port = 22


@pytest.mark.parametrize("port", [22, 80, 1023, *sorted(SENSITIVE_PORTS)])
def test_a_sensitive_port_has_to_be_asked_for(port: int) -> None:
    assert "allow_sensitive_port = true" in reason(TunnelConfig, "tunnel", local_port=port)
    assert tunnel(local_port=port, allow_sensitive_port=True).local_port == port


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "169.254.169.254", "10.0.0.1", "example.com", "", "localhost.evil.test",
     "127.0.0.1:80", "127.1", "127.0.0.1 ", "::ffff:127.0.0.1"],
)  # fmt: skip
def test_a_target_beyond_this_machine_is_refused(host: str) -> None:
    said = reason(TunnelConfig, "tunnel", local_host=host)
    assert said == (
        "tunnel.local_host: a tunnel forwards to this machine only; "
        "use an address of 127.0.0.0/8 or ::1"
    )


@pytest.mark.parametrize("host", ["::1%1", "::1%lo", "127.0.0.1%lo", "fe80::1%eth0"])
def test_a_zone_is_refused(host: str) -> None:
    said = reason(TunnelConfig, "tunnel", local_host=host)
    assert said == (
        "tunnel.local_host: a loopback address has no zone; remove the % and the part after it"
    )


@pytest.mark.parametrize(
    ("host", "target"),
    [("localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("127.9.9.9", "127.9.9.9"),
     ("::1", "::1")],
)  # fmt: skip
def test_a_target_on_this_machine_is_taken(host: str, target: str) -> None:
    assert tunnel(local_host=host).local_host == target


def test_the_back_off_has_an_order() -> None:
    said = reason(TunnelConfig, "tunnel", reconnect={"backoff_base_ms": 9, "backoff_max_ms": 8})
    assert said.startswith("tunnel.reconnect: backoff_base_ms (9) is greater than")


# --- unknown keys ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("local_prt", "local_port"), ("localport", "local_port"), ("autostart", "auto_start"),
        ("provider", "backend"), ("tunnel_provider", "backend"), ("port", "local_port"),
        ("local_addr", "local_port"), ("health_check_interval_secs", "health_check_interval"),
        ("startup_timeout_secs", "connect_timeout"), ("reconect", "reconnect"),
        ("local_p\u043ert", "local_port"),
    ],
)  # fmt: skip
def test_a_misspelt_or_foreign_key_of_the_tunnel_suggests_ours(key: str, meant: str) -> None:
    said = reason(TunnelConfig, "tunnel", **{key: 3000})
    assert said == f"tunnel: unknown key {key!r}; did you mean {meant!r}?"


def test_a_misspelt_table_is_not_taken_for_a_backend() -> None:
    said = reason(TunnelConfig, "tunnel", reconnnect={"enabled": False})
    assert said == "tunnel: unknown key 'reconnnect'; did you mean 'reconnect'?"


def test_an_unknown_key_without_a_likeness_lists_the_known_ones() -> None:
    assert "known keys: backend, local_port" in reason(TunnelConfig, "tunnel", colour="red")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"numbr": 1}, "tunnel.example: unknown key 'numbr'; did you mean 'number'?"),
        (
            {"inner": {"prot": 1}},
            "tunnel.example.inner: unknown key 'prot'; did you mean 'port'?",
        ),
    ],
)
def test_an_unknown_key_of_a_backend_suggests_a_known_one(table: dict[str, Any], said: str) -> None:
    assert reason(Example, **table) == said


class BoreConfig(BackendConfig):
    """As a third party writes it."""

    key_hints: ClassVar[Mapping[str, str]] = {
        "bore_path": "program",
        "secret": "authtoken",
        "remote": 'write server = "host", without a port',
    }

    authtoken: str = ""
    program: str = ""
    programme: str = ""
    inner: Inner | None = None


class NewerBoreConfig(BoreConfig):
    key_hints: ClassVar[Mapping[str, str]] = {"secret": "program"}


@pytest.mark.parametrize(
    ("model", "key", "said"),
    [
        (BoreConfig, "bore_path", "did you mean 'program'?"),
        (BoreConfig, "secret", "did you mean 'authtoken'?"),
        (BoreConfig, "remote", 'write server = "host", without a port'),
        (BoreConfig, "startup_timeout_secs", "did you mean 'connect_timeout'?"),
        (BoreConfig, "programm", "did you mean 'programme'?"),
        (NewerBoreConfig, "secret", "did you mean 'program'?"),
        (NewerBoreConfig, "bore_path", "did you mean 'program'?"),
    ],
)
def test_the_keys_of_other_tools_suggest_the_backends_own(
    model: type[BackendConfig], key: str, said: str
) -> None:
    assert reason(model, **{key: "x"}) == f"tunnel.example: unknown key {key!r}; {said}"
    # Another table does not send people to a key that it does not have.
    known = "known keys: port"
    assert known in reason(BoreConfig, inner={key: "x"})
    assert "known keys: connect_timeout" in reason(BackendConfig, ngrok_path="x", secret="x")


def test_every_reason_is_told_once_and_names_its_key() -> None:
    said = reason(Example, number="x", either=[3], env={"MY-VAR": 3}, inner={"port": 0})
    assert said.splitlines() == [
        "tunnel.example.number: input should be a valid integer",
        "tunnel.example.either: input should be a valid string",
        "tunnel.example.either.0: input should be a valid string",
        "tunnel.example.env.MY-VAR: input should be a valid string",
        "tunnel.example.inner.port: input should be greater than or equal to 1",
    ]


def test_what_a_key_may_be_instead_is_told_on_one_line() -> None:
    expected = "input should be a valid string, or input should be a valid list"
    assert reason(Example, either=3) == f"tunnel.example.either: {expected}"
    unknown = reason(Example, one=1, two=2).splitlines()
    assert [line.partition(";")[0] for line in unknown] == [
        "tunnel.example: unknown key 'one'",
        "tunnel.example: unknown key 'two'",
    ]


def test_a_value_in_place_of_a_table_is_told_in_words_of_toml() -> None:
    assert reason(Example, inner=3, env="x").splitlines() == [
        "tunnel.example.env: it is not a table; write [tunnel.example.env]",
        "tunnel.example.inner: it is not a table; write [tunnel.example.inner]",
    ]


def test_the_tables_of_other_backends_are_kept_and_not_looked_at() -> None:
    config = tunnel(backend="custom", ngrok={"nonsense": 1}, custom={"command": "x"})
    assert config.table("custom") == {"command": "x"}
    assert config.table("ngrok") == {"nonsense": 1}
    assert config.table("frp") == {}


# --- secrets -----------------------------------------------------------------------------------

BAD_TABLES: Mapping[str, dict[str, Any]] = {
    "a sibling is missing": {"password": CANARY, "numbr": 1},
    "a sibling is wrong": {"token": CANARY, "inner": {"token": CANARY, "port": CANARY}},
    "in the wrong field": {"number": CANARY, "port": CANARY, "switch": CANARY, "ratio": CANARY},
    "in the wrong container": {"words": CANARY, "env": CANARY, "inner": CANARY, "mode": CANARY},
    "in a list": {"words": [CANARY, 1], "env": {"A": CANARY, "B": 1}},
    "too short": {"token": CANARY[:3], "password": CANARY},
    "with a NUL": {"token": f"{CANARY}\x00"},
}


@pytest.mark.parametrize("table", BAD_TABLES.values(), ids=BAD_TABLES)
def test_an_error_carries_no_value_anywhere(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Example, table, path="tunnel.example")
    error = caught.value
    shown = f"{error!r} {error} {''.join(traceback.format_exception(error))}"
    assert CANARY[:6] not in shown
    # Tools that report crashes walk these, whatever `raise … from None` hides from a terminal.
    assert error.__cause__ is None
    assert error.__context__ is None


def test_settings_show_no_secret_in_any_form() -> None:
    config = example(
        token=CANARY, password=CANARY, env={"A": CANARY}, inner={"token": CANARY}, word="visible"
    )
    for each in (config, copy.copy(config), copy.deepcopy(config), config.model_copy()):
        shown = f"{each!r} {each} {each.model_dump()} {each.model_dump_json()}"
        assert CANARY not in shown
        assert "visible" in shown
        assert each.token is not None
        assert each.token.get_secret_value() == CANARY


def test_a_table_that_is_not_validated_yet_is_not_shown() -> None:
    config = tunnel(backend="ngrok", ngrok={"authtoken": CANARY}, frp={"token": CANARY})
    assert CANARY not in f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"
    assert f"ngrok='{MASK}'" in repr(config)
    assert config.model_copy(update={"local_port": 4000}).table("ngrok") == {"authtoken": CANARY}


@pytest.mark.parametrize("secret", ["", "a", "abc", "   a   "])
def test_a_secret_too_short_to_be_masked_is_refused(secret: str) -> None:
    assert "at least 4 characters" in reason(Example, token=secret)


def test_all_secrets_are_known_to_a_redactor() -> None:
    config = example(token="one1", password="two2", env={"A": "three"}, inner={"token": "four"})
    assert sorted(secrets_of(config)) == ["four", "one1", "three", "two2"]


def test_secrets_written_into_the_file_are_found() -> None:
    table = {
        "token": CANARY,
        "password": Expanded(CANARY),
        "word": CANARY,
        "env": {
            "MY_TOKEN": CANARY,
            "API_KEY": CANARY,
            "PASSWORD": WholeVariable(CANARY),
            "RUST_LOG": "debug",
        },
        "inner": {"token": CANARY},
    }
    assert literal_secrets(validate(Example, table, path="t"), table, path="t") == [
        "t.token",
        "t.env.MY_TOKEN",
        "t.env.API_KEY",
        "t.inner.token",
    ]


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
TABLES = st.dictionaries(
    st.sampled_from([*Example.model_fields, "x"]),
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
        max_leaves=20,
    ),
    max_size=6,
)


@fuzz
@given(TABLES)
def test_any_table_is_valid_or_a_config_error(table: dict[str, Any]) -> None:
    try:
        config = validate(Example, table, path="tunnel.example")
    except ConfigError as error:
        reasons = str(error).splitlines()
    else:
        reasons = []
        assert isinstance(config, BaseModel)
    assert all(line.startswith("tunnel.example") for line in reasons)


def test_an_error_of_pydantic_itself_has_no_value_either() -> None:
    """A model made without `validate()` may end up in a log with its error."""
    with pytest.raises(ValidationError) as caught:
        TunnelConfig.model_validate({"local_port": "canary"})
    assert "local_port" in str(caught.value)
    assert "canary" not in str(caught.value)
