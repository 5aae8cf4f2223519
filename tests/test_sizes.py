"""How much core takes and shows, each bound from both sides; the numbers are written out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from prx_tunnel_core import Connecting
from prx_tunnel_core._configfile import load
from prx_tunnel_core._control import protocol
from prx_tunnel_core._isolation import describe
from prx_tunnel_core._supervisor.broadcast import StatusBroadcast
from prx_tunnel_core.access import bearer_token
from prx_tunnel_core.config import ConfigModel, validate
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.expansion import expand
from prx_tunnel_core.paths import AmbiguousPath, RequestPath
from prx_tunnel_core.text import MASK, Redactor


@pytest.mark.parametrize(("length", "is_taken"), [(32 * 1024, True), (32 * 1024 + 1, False)])
def test_a_value_may_have_32_kib(length: int, is_taken: bool) -> None:
    for text, environ in (("x" * length, {}), ("${A}", {"A": "x" * length})):
        if is_taken:
            assert expand(text, environ, path="t") == "x" * length
        else:
            with pytest.raises(ConfigError, match=r"^t: longer than 32 KiB; shorten the value$"):
                expand(text, environ, path="t")


class Strict(ConfigModel):
    known: int = 0


@pytest.mark.parametrize(("length", "shown"), [(60, "k" * 60), (61, f"{'k' * 60}…")])
def test_of_a_key_a_message_shows_sixty_characters(length: int, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Strict, {"k" * length: 1}, path="t")
    assert str(caught.value) == f"t: unknown key {shown!r}; known keys: known"


# What moves a terminal's cursor, reorders or ends the line.
@pytest.mark.parametrize("key", ["a\x1b[31mb", "a\nb", "a\u202eb", "a\x9bb", "a\rb", "a\u2028b"])
def test_a_key_that_cannot_be_printed_is_shown_without_what_a_terminal_obeys(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Strict, {key: 1}, path="t")
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith("t: unknown key 'a")
    with pytest.raises(ConfigError) as caught:
        expand({key: {"deep": "${NOT_SET}"}}, {}, path="t")
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith("t.a")


@pytest.mark.parametrize(("number", "told"), [(20, 20), (21, 21), (30, 21)])
def test_of_wrong_keys_a_message_names_twenty(number: int, told: int) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Strict, {f"strange{each}": 1 for each in range(number)}, path="t")
    lines = str(caught.value).splitlines()
    assert len(lines) == told
    assert (lines[-1] == f"t: and {number - 20} more") is (number > 20)


@pytest.mark.parametrize(("extra", "is_taken"), [(0, True), (1, False)])
def test_a_configuration_file_may_have_one_mebibyte(
    tmp_path: Path, extra: int, is_taken: bool
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[tunnel]\nlocal_port = 3000\n".ljust(1024 * 1024 + extra, "#"))
    path.chmod(0o600)
    if is_taken:
        assert load(path, environ={}).tunnel.local_port == 3000
    else:
        with pytest.raises(ConfigError):
            load(path, environ={})


@pytest.mark.parametrize(("parts", "is_taken"), [(32, True), (33, False)])
def test_a_key_may_have_thirty_two_parts(tmp_path: Path, parts: int, is_taken: bool) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[agent]\n\n{'.'.join(['a'] * parts)} = 1\n")
    path.chmod(0o600)
    if is_taken:
        load(path, environ={})
    else:
        with pytest.raises(ConfigError, match="the key in line 3 has more than 32 parts"):
            load(path, environ={})


@pytest.mark.parametrize(("length", "is_taken"), [(8192, True), (8193, False)])
def test_a_path_may_have_8192_characters(length: int, is_taken: bool) -> None:
    scope = {"type": "http", "path": "/" + "x" * (length - 1), "root_path": ""}
    if is_taken:
        RequestPath(scope)
    else:
        with pytest.raises(AmbiguousPath, match="longer than any path"):
            RequestPath(scope)


@pytest.mark.parametrize(("token", "is_taken"), [("x" * 16, True), ("x" * 15, False)])
def test_a_bearer_token_has_sixteen_characters(token: str, is_taken: bool) -> None:
    if is_taken:
        bearer_token(token)
        return
    for spelling in (token, f" {token} "):
        with pytest.raises(ValueError, match="use 16 characters or more"):
            bearer_token(spelling)


@pytest.mark.parametrize(("length", "shown"), [(286, "x" * 286), (287, f"{'x' * 286}…")])
def test_of_an_error_of_a_plugin_three_hundred_characters_are_shown(
    length: int, shown: str
) -> None:
    assert describe(RuntimeError("x" * length)) == f"RuntimeError: {shown}"


@pytest.mark.parametrize(("secret", "is_hidden"), [("abcd", True), ("abc", False)])
def test_a_secret_has_four_characters(secret: str, is_hidden: bool) -> None:
    assert Redactor([secret])(f"is {secret}!") == f"is {MASK if is_hidden else secret}!"


@pytest.mark.anyio
async def test_a_slow_watcher_may_lag_sixty_four_statuses_behind() -> None:
    statuses = StatusBroadcast()
    watch = statuses.watch()
    for attempt in range(1, 101):
        statuses.put(Connecting(attempt))
    statuses.close()
    with anyio.fail_after(10):
        seen = [status async for status in watch]
    assert seen == [Connecting(attempt) for attempt in range(37, 101)]


def test_each_form_of_an_answer_and_no_other() -> None:
    operations = {"status": None}
    for form in ("text", "json"):
        assert protocol.parse(request(form), operations) == ("status", form)
    for wrong in ("xml", "", None, 1):
        with pytest.raises(ValueError, match="text, json"):
            protocol.parse(request(wrong), operations)


def request(form: Any) -> bytes:
    return json.dumps({"v": 1, "op": "status", "as": form}).encode()
