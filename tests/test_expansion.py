"""`${NAME}`: every spelling that has a meaning, and the ones that have none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.expansion import Expanded, WholeVariable, expand

ENVIRON = {"A": "alpha", "B": "", "EVIL": "${A}", "_x9": "under", "TOKEN": "canary-token\n"}


def expanded(value: object) -> Any:
    return expand(value, ENVIRON, path="tunnel.custom")


@pytest.mark.parametrize(
    ("text", "result"),
    {
        "plain": "plain",
        "${A}": "alpha",
        "x${A}y${A}": "xalphayalpha",
        "${_x9}": "under",
        "${A:-other}": "alpha",
        "${NONE:-other}": "other",
        "${NONE:-}": "",
        "${B:-other}": "other",
        "${NONE:-a b:c-d}": "a b:c-d",
        "$$": "$",
        "$$$$": "$$",
        "$${A}": "${A}",
        "$$${A}": "$alpha",
        "$A": "$A",
        "cost: 5$": "cost: 5$",
        "a$b$c": "a$b$c",
        "{A}": "{A}",
        "${EVIL}": "${A}",
        "${TOKEN}": "canary-token",
    }.items(),
)
def test_a_reference_is_replaced_once(text: str, result: str) -> None:
    assert expanded(text) == result


@pytest.mark.parametrize(
    "text",
    [
        "${", "${}", "${ A }", "${A", "${1A}", "${A-b}", "${A:b}", "${A:=b}", "${${A}}", "x${A} ${",
        "${A:-${B}}", "${A:-$5}", "${A:-{}}", "${ä}", "${A.B}", "$$${", "${A\n}",
    ],
)  # fmt: skip
def test_a_malformed_reference_is_an_error_that_shows_the_right_form(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^tunnel\.custom: .*\$\{NAME:-default\}.*\$\$\{"):
        expanded(text)


def test_an_unset_variable_is_named_with_the_key_and_the_fix() -> None:
    with pytest.raises(ConfigError) as caught:
        expand({"env": {"X": ["${A}", "a${NONE}"]}}, ENVIRON, path="tunnel.custom")
    message = str(caught.value)
    assert message.startswith("tunnel.custom.env.X[1]: the environment variable NONE is not set")
    assert "${NONE:-…}" in message
    assert "alpha" not in message


def test_an_empty_variable_is_told_from_an_unset_one() -> None:
    with pytest.raises(ConfigError, match="variable B is empty"):
        expanded("${B}")


@pytest.mark.parametrize(
    "value", ["a\nb", "a\n\n", "\x1b[31m", "a\x00", "a\udc80", "tab\there", "a\u2028b", "\u202e"]
)
def test_what_no_setting_may_hold_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(ConfigError, match="variable V has control characters") as caught:
        expand("${V}", {"V": value}, path="k")
    assert value not in str(caught.value)


@pytest.mark.parametrize("value", ["secret\n", "secret\r\n", "secret"])
def test_the_line_end_that_a_secret_mount_leaves_is_removed(value: str) -> None:
    assert expand("${V}", {"V": value}, path="k") == "secret"


def test_only_leaves_are_expanded_and_other_types_stay() -> None:
    value = {"${A}": {"port": 3000, "on": True, "list": ["${A}", 1.5, None]}}
    assert expanded(value) == {"${A}": {"port": 3000, "on": True, "list": ["alpha", 1.5, None]}}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("${A}", WholeVariable), ("${NONE:-3000}", WholeVariable), ("${A} ", Expanded),
        ("${A}${A}", Expanded), ("$${A}", str), ("$$", str), ("plain", str),
    ],
)  # fmt: skip
def test_text_remembers_whether_a_variable_went_into_it(text: str, kind: type) -> None:
    assert type(expanded(text)) is kind


@given(st.text(alphabet="${}AB:-_ \n"))
def test_any_text_expands_or_is_a_config_error(text: str) -> None:
    try:
        result = expand(text, {"A": "$$", "B": "${A}"}, path="k")
    except ConfigError:
        return
    assert isinstance(result, str)


@given(st.text().filter(str.isprintable), st.text(alphabet="${}A"))
def test_a_value_is_never_read_again(value: str, around: str) -> None:
    if "$" not in around and value:
        assert expand(around + "${V}", {"V": value}, path="k") == around + value


def test_dollars_doubled_are_the_text_itself() -> None:
    text = "${A} $A $$ ${"
    assert expand(text.replace("$", "$$"), {}, path="k") == text
