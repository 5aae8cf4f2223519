from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.credentials import check_token

from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import SetupError

TUNNEL = "6ff42ae2-765d-4adf-8112-31c55c1551ef"
FILE = {"AccountTag": "a", "TunnelSecret": "canary-secret", "TunnelID": TUNNEL}


def read(**table: Any) -> CloudflareConfig:
    return validate(CloudflareConfig, table, path="tunnel.cloudflare")


def local(path: Path) -> CloudflareConfig:
    return read(credentials_file=str(path), tunnel_id=TUNNEL.upper(), hostname="app.example.com")


def test_a_quick_tunnel_has_none() -> None:
    assert read().load_credentials().token is None


def test_token_file_is_read_at_each_attempt(tmp_path: Path, token: str) -> None:
    path = tmp_path / "token"
    config = read(token_file=str(path))
    path.write_text(f"  {token}\n")
    credentials = config.load_credentials()
    assert credentials.token is not None
    assert credentials.token.get_secret_value() == token
    assert token in credentials.hidden
    assert "Y2FuYXJ5LXNlY3JldA==" in credentials.hidden
    assert repr(credentials) == "<Credentials>"
    path.unlink()
    with pytest.raises(SetupError, match=r"token_file: .*No such file"):
        config.load_credentials()


def test_home_is_expanded(tmp_path: Path, token: str) -> None:
    (tmp_path / "home" / "token").write_text(token)
    assert read(token_file="~/token").load_credentials().token is not None


def test_credentials_file(tmp_path: Path) -> None:
    path = tmp_path / "tunnel.json"
    path.write_text(json.dumps(FILE))
    assert local(path).load_credentials().hidden == ("canary-secret",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not a tunnel credentials file"),
        ("[]", "not a tunnel credentials file"),
        ("[" * 100_000, "far too large"),
        ("[" * 60_000, "not a tunnel credentials file"),
        (json.dumps({"TunnelID": TUNNEL}), "not a tunnel credentials file"),
        (json.dumps({**FILE, "TunnelID": "other"}), "another tunnel"),
    ],
)
def test_a_file_that_is_not_it(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "tunnel.json"
    path.write_text(content)
    with pytest.raises(SetupError, match=r"tunnel\.cloudflare\.credentials_file") as refused:
        local(path).load_credentials()
    assert words in str(refused.value)
    assert "canary" not in str(refused.value)


def test_what_is_no_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, words in (
        ("fifo", "not a regular file"),
        ("", "Is a directory"),
        ("binary", "not a text file"),
    ):
        with pytest.raises(SetupError, match=words):
            read(token_file=str(tmp_path / name)).load_credentials()


TOKEN = {"a": "account", "t": TUNNEL, "s": "canary-secret"}


def encoded(content: object) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode()


def test_the_three_parts_of_a_token_are_texts() -> None:
    check_token(encoded(TOKEN))
    check_token(f" {encoded(TOKEN)}\n")


@pytest.mark.parametrize("part", TOKEN)
@pytest.mark.parametrize("value", [None, "", 1, True, ["x"], {"x": 1}])
def test_each_part_of_a_token_has_to_be_a_text(part: str, value: object) -> None:
    with pytest.raises(ValueError, match="lacks the account, the tunnel or the secret"):
        check_token(encoded({**TOKEN, part: value}))


@pytest.mark.parametrize("content", [[], "ats", 5, None, {}])
def test_a_token_that_has_no_parts(content: object) -> None:
    with pytest.raises(ValueError, match="lacks the account, the tunnel or the secret"):
        check_token(encoded(content))


def test_a_token_file_may_have_sixty_four_kibibytes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(encoded(TOKEN).ljust(64 * 1024))
    assert read(token_file=str(path)).load_credentials().hidden[1] == "canary-secret"
    path.write_text(encoded(TOKEN).ljust(64 * 1024 + 1))
    with pytest.raises(SetupError, match="far too large"):
        read(token_file=str(path)).load_credentials()


def test_a_token_file_with_something_else(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("canary-token")
    with pytest.raises(SetupError, match="eyJ") as refused:
        read(token_file=str(tmp_path / "token")).load_credentials()
    assert "canary" not in str(refused.value)
