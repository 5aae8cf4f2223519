"""Lists of this plugin, each walked whole; written here a second time, from the POSIX shell."""

from __future__ import annotations

import pytest
from prx_tunnel_custom.command import secret_options, words
from prx_tunnel_custom.config import CustomConfig

from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError


@pytest.mark.parametrize(
    "word", ["|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1", ">&2", "&>"]
)
def test_each_word_of_a_shell_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="needs a shell"):
        words(f"bore {word} local")
    assert words(["bore", word, "local"]) == ("bore", word, "local")  # a list is as it is meant


@pytest.mark.parametrize(
    "option",
    [
        "token", "secret", "password", "passwd", "passphrase", "api-key", "apikey", "authkey",
        "authtoken", "my-token",
    ],
)  # fmt: skip
def test_each_option_that_holds_a_secret_is_named(option: str) -> None:
    for dashes in ("-", "--"):
        assert list(secret_options(["a", f"{dashes}{option}", "x"])) == [f"{dashes}{option}"]
        assert list(secret_options(["a", f"{dashes}{option}=x"])) == [f"{dashes}{option}"]
    assert list(secret_options(["a", "--verbose", option])) == []


@pytest.mark.parametrize(("theirs", "ours"), [("start_command", "command")])
def test_a_key_of_another_tool_is_told_its_name_here(theirs: str, ours: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(CustomConfig, {theirs: "x"}, path="t")
    assert str(caught.value) == f"t: unknown key {theirs!r}; did you mean {ours!r}?"


def test_what_holds_for_a_key_that_is_not_set() -> None:
    fields = {k: each for k, each in CustomConfig.model_fields.items() if not each.is_required()}
    found = {key: each.get_default(call_default_factory=True) for key, each in fields.items()}
    assert found == {
        "connect_timeout": None,
        "command": (),
        "env": {},
        "url_pattern": None,
        "url_scheme": "http",
        "url_host": None,
        "public_url": None,
        "ready_pattern": None,
        "stop_grace": 5.0,
    }
