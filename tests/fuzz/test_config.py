"""The configuration file and `${…}`: a value, or a ConfigError without a secret."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prx_tunnel_core._configfile import MOST_PARTS, load
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.expansion import LONGEST_VALUE, expand
from support.fuzz import fuzz

ENVIRON = {"A": "value-of-a", "B": "", "LONG": "x" * 1000, "BAD": "line\nend"}
REFERENCES = st.sampled_from(
    [
        "$",
        "$$",
        "${",
        "}",
        "${A}",
        "${B}",
        "${NONE}",
        "${A:-",
        "${NONE:-d}",
        "${LONG}",
        "${BAD}",
        ":-",
    ]
)


@fuzz
@given(st.lists(REFERENCES | st.text(max_size=5), max_size=20).map("".join))
def test_a_text_expands_or_is_refused(text: str) -> None:
    try:
        expanded = expand(text, ENVIRON, path="tunnel.x")
    except ConfigError as error:
        refusal = str(error)
    else:
        assert isinstance(expanded, str)
        assert len(expanded) <= LONGEST_VALUE
        assert expand(expanded.replace("$", "$$"), {}, path="tunnel.x") == expanded
        return
    assert refusal.startswith("tunnel.x: ")
    assert "value-of-a" not in refusal
    assert refusal.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@fuzz
@given(JSON)
def test_every_leaf_is_expanded_and_nothing_else(value: Any) -> None:
    def quoted(item: Any) -> Any:
        if isinstance(item, str):
            return item.replace("$", "$$")
        if isinstance(item, list):
            return [quoted(each) for each in item]
        if isinstance(item, dict):
            return {key: quoted(each) for key, each in item.items()}
        return item

    assert expand(quoted(value), {}, path="x") == value


PART = (
    st.from_regex(r"[A-Za-z0-9_-]{1,3}", fullmatch=True)
    | st.sampled_from(['"a.b"', '"\\""', "'c.d'", '"#"', "''", '"\\\\"'])
)  # fmt: skip
KEY = st.lists(PART, min_size=1, max_size=2 * MOST_PARTS)
GAP = st.sampled_from(["", " ", "\t"])
VALUE = st.sampled_from(
    [
        "1",
        "1.5",
        '"a.b.c"',
        "'x'",
        '"""a\n.b"""',
        "'''#'''",
        '"""""""',
        "''''q'''",
        "[1, 2.5]",
        "{}",
    ]
)


@fuzz
@given(st.lists(st.tuples(KEY, GAP, VALUE, st.sampled_from(["", "# a.b"])), max_size=4))
def test_a_key_is_refused_by_its_parts_alone(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[list[str], str, str, str]]
) -> None:
    text = "".join(
        f"[x.t{number}]\n{f'{gap}.{gap}'.join(key)} = {value} {comment}\n"
        for number, (key, gap, value, comment) in enumerate(lines)
    )
    file = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    if any(len(key) > MOST_PARTS for key, *_ in lines):
        with pytest.raises(ConfigError, match="has more than 32 parts"):
            load(file, environ={})
    else:
        tables = load(file, environ={}, own_tables=["x"]).tables
        assert dict(tables) == tomllib.loads(text)


@fuzz
@given(st.binary() | st.text(alphabet="[]{}\"'#=.,ab1\n\\ ").map(str.encode))
def test_any_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file: Path = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(content)
    file.chmod(0o600)
    said = f"{file}: "
    try:
        load(file, environ={})
    except ConfigError as error:
        said = str(error)
    assert said.startswith(f"{file}: ")
