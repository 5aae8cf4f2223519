"""Lists of this plugin, each walked whole; written here a second time, from the POSIX shell."""

from __future__ import annotations

import pytest
from prx_tunnel_custom.command import secret_options, words


@pytest.mark.parametrize(
    "word", ["|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1", ">&2", "&>"]
)
def test_each_word_of_a_shell_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="is for a shell"):
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
