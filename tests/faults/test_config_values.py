"""J: values that no setting may have, and references to the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from prx_tunnel_core import PluginRegistry
from prx_tunnel_core._configfile import load
from prx_tunnel_core.config import ReconnectConfig, TunnelConfig, validate
from prx_tunnel_core.errors import ConfigError
from support.command import Prx

CANARY = "canary-0123456789"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def read(file: Path, tunnel: str, **environ: str) -> TunnelConfig:
    file.write_text(f"[tunnel]\n{tunnel}\n")
    return load(file, environ=environ).tunnel


def refused(file: Path, tunnel: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(file, tunnel, **environ)
    said = str(caught.value)
    assert CANARY not in said
    assert said.isprintable()
    return said


def backend(name: str, table: dict[str, object]) -> object:
    """The settings of an installed backend, validated."""
    return validate(PluginRegistry().backend(name).config, table, path=f"tunnel.{name}")


@pytest.mark.parametrize(
    "port", ["true", "3000.0", "'3000'", "0", "-1", "65536", str(2**64), "[3000]", "{}", "nan"]
)
def test_j07_what_is_no_port(file: Path, port: str) -> None:
    assert "tunnel.local_port: " in refused(file, f"local_port = {port}")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("health_check_interval = nan", "tunnel.health_check_interval"),
        ("connect_timeout = inf", "tunnel.connect_timeout"),
        ("connect_timeout = -inf", "tunnel.connect_timeout"),
        ("backend = 1979-05-27", "tunnel.backend"),
        ("backend = 07:32:00", "tunnel.backend"),
        ("local_host = ['a', 1, true]", "tunnel.local_host"),
        ("reconnect = [1, 'a']", "tunnel.reconnect"),
        ("reconnect.max_attempts = 1e9", "tunnel.reconnect.max_attempts"),
        ("auto_start = 1", "tunnel.auto_start"),
        ("backend = 'custom'\ncustom.command = ['a', 1]", "tunnel.custom.command"),
    ],
)
def test_j08_values_of_another_kind_are_named_by_their_key(file: Path, line: str, key: str) -> None:
    if "custom" not in key:
        assert f"{key}: " in refused(file, line)
        return
    table = read(file, line).table("custom")
    with pytest.raises(ConfigError, match=r"tunnel\.custom\.command: "):
        backend("custom", dict(table))


@pytest.mark.parametrize(
    "line",
    ["local_prt = 1", "'local_p\u043ert' = 1", "Local_Port = 1", "reconnect.max_atempts = 1"],
)
def test_j09_a_key_that_does_not_exist_suggests_one_that_does(file: Path, line: str) -> None:
    said = refused(file, line)
    assert "did you mean 'local_port'?" in said or "did you mean 'max_attempts'?" in said


def test_j09_a_bare_homoglyph_is_no_toml(file: Path) -> None:
    assert "line 2" in refused(file, "local_p\u043ert = 1")


@pytest.mark.parametrize(
    "hostname",
    ["a\u202emoc.elpmaxe", "a\u200b.example.com", "a\\u0007b.example.com", "a\\nb.example.com",
     "\\u001b[31ma.example.com", "a b.example.com"],
)  # fmt: skip
def test_j10_hidden_and_reversing_characters_in_a_name(file: Path, hostname: str) -> None:
    table = read(file, f'backend = "cloudflare"\ncloudflare.hostname = "{hostname}"').table(
        "cloudflare"
    )
    with pytest.raises(ConfigError, match=r"tunnel\.cloudflare\.hostname: ") as caught:
        backend("cloudflare", dict(table))
    assert str(caught.value).isprintable()
    assert "tunnel.local_host: " in refused(file, f'local_host = "{hostname}"')


@pytest.mark.parametrize(("environ", "state"), [({}, "not set"), ({"TOKEN": ""}, "empty")])
def test_j14_a_variable_that_is_missing(file: Path, environ: dict[str, str], state: str) -> None:
    text = f"backend = 'ngrok'\n[tunnel.ngrok]\ndomain = '{CANARY}'\nauthtoken = '${{TOKEN}}'"
    said = refused(file, text, **environ)
    assert f"tunnel.ngrok.authtoken: the environment variable TOKEN is {state}" in said


GOOD = {"${A}": "alpha", "${NO:-x}": "x", "${NO:-}": "", "$$": "$", "$$${A}": "$alpha",
        "$A": "$A", "5$": "5$", "$${A}": "${A}"}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), GOOD.items())
def test_j15_the_references_that_there_are(file: Path, text: str, value: str) -> None:
    line = f"backend = 'x'\nx.word = '{text}'"
    assert read(file, line, A="alpha").table("x")["word"] == value


@pytest.mark.parametrize(
    "text", ["${${A}}", "${A", "${}", "${ A }", "${1A}", "${A:-${B}}", "${A-}"]
)
def test_j15_everything_else_that_looks_like_one(file: Path, text: str) -> None:
    said = refused(file, f"backend = 'x'\nx.word = '{text}'", A="alpha", B="beta")
    assert "tunnel.x.word: a reference to a variable is written ${NAME}" in said


def test_j16_a_value_is_not_read_again(file: Path) -> None:
    line = "backend = 'x'\nx.word = '${A}'"
    assert read(file, line, A="${B} $$", B="beta").table("x")["word"] == "${B} $$"


def test_j17_a_value_brings_no_table(file: Path) -> None:
    evil = '"\n[tunnel.custom]\ncommand = "touch /tmp/x'.replace("\n", " ")
    tunnel = read(file, 'backend = "x"\nx.word = "${A}"', A=evil)
    assert tunnel.table("x") == {"word": evil}
    assert tunnel.table("custom") == {}
    # With line ends, as an injection needs them, it is no value at all.
    assert "control characters" in refused(file, 'backend = "x"\nx.w = "${A}"', A="a\nb = 1")


@pytest.mark.parametrize("value", [f"{CANARY}\n", f"{CANARY}\r\n", CANARY])
def test_j18_one_line_end_of_a_secret_is_removed(file: Path, value: str) -> None:
    table = read(file, "backend = 'ngrok'\nngrok.authtoken = '${TOKEN}'", TOKEN=value).table(
        "ngrok"
    )
    assert table["authtoken"] == CANARY
    said = refused(file, "backend = 'ngrok'\nngrok.authtoken = '${TOKEN}'", TOKEN=f"{value}\n\n")
    assert "TOKEN has control characters" in said


def test_j19_a_home_or_a_user_is_not_expanded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `os.path.expandvars` would, which leaves what is unset as it is, without a word."""
    monkeypatch.setenv("HOME", "/somewhere")
    assert os.path.expandvars("$HOME") == "/somewhere"
    assert read(file, "backend = 'x'\nx.word = '$HOME'", HOME="/h").table("x")["word"] == "$HOME"
    assert "NOWHERE is not set" in refused(file, "backend = 'x'\nx.word = '${NOWHERE}'")


def test_j20_bytes_that_are_no_text(prx: Prx) -> None:
    prx.configure(lab="token = '${TOKEN}'")
    done = prx("tunnel", "start", environ={"TOKEN": os.fsdecode(b"canary\xff\xfe0123")})
    assert done.returncode == 2
    assert "the environment variable TOKEN has control characters or invalid UTF-8" in done.stderr
    assert "canary" not in done.stderr


@pytest.fixture
def prx(tmp_path: Path) -> Prx:
    return Prx(tmp_path)


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("provider = 'ngrok'", "backend"),
        ("local_addr = 'localhost:3000'", "local_port"),
        ("health_url = 'http://x'", "health_check_url"),
        ("startup_timeout_secs = 3", "connect_timeout"),
    ],
)
def test_j21_the_names_of_other_tools_suggest_ours(file: Path, line: str, ours: str) -> None:
    assert f"did you mean '{ours}'?" in refused(file, line)


def test_j21_the_spellings_of_the_documentation_are_ours(file: Path) -> None:
    tunnel = read(file, "backend = 'ngrok'\nlocal_port = 3000\nreconnect.backoff_base_ms = 500")
    assert (tunnel.backend, tunnel.local_port, tunnel.reconnect.backoff_base_ms) == (
        "ngrok", 3000, 500,
    )  # fmt: skip
    assert "backoff_max_ms" in ReconnectConfig.model_fields


def test_j24_a_command_is_a_list_or_a_line(file: Path) -> None:
    common = {"url_pattern": "bore.pub"}
    as_line = backend("custom", {"command": "bore local {port} --to 'bore.pub'", **common})
    as_list = backend("custom", {"command": ["bore", "local", "{port}", "--to", "bore.pub"],
                                 **common})  # fmt: skip
    assert as_line == as_list
    both = "backend = 'custom'\n[tunnel.custom]\ncommand = 'a'\ncommand = ['a']"
    assert "line 5" in refused(file, both)


def test_j25_what_wins_over_what(file: Path) -> None:
    """The command line over the file, the file over the environment, a literal over nothing."""
    file.write_text(
        "[tunnel]\nbackend = 'x'\nlocal_port = 4000\n[tunnel.x]\ntoken = 'in-the-file'\n"
    )
    environ = {"TOKEN": "in-the-environment", "PRX_TUNNEL_LOCAL_PORT": "5000", "LOCAL_PORT": "5001"}
    config = load(file, overrides={"local_port": 6000}, environ=environ).tunnel
    assert (config.local_port, config.table("x")["token"]) == (6000, "in-the-file")
    assert load(file, environ=environ).tunnel.local_port == 4000


def test_j25_a_secret_of_the_file_wins_over_the_programs_own_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prx_tunnel_ngrok.config import NgrokConfig
    from prx_tunnel_ngrok.connect import authtoken

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NGROK_AUTHTOKEN", "of-the-environment")
    found = authtoken(NgrokConfig(authtoken=SecretStr("of-the-file-itself")))
    assert found is not None
    assert found.get_secret_value() == "of-the-file-itself"
