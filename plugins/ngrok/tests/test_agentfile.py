from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from prx_tunnel_ngrok.agentfile import PORTS, default_path, users_file, written
from prx_tunnel_ngrok.config import NgrokConfig
from prx_tunnel_ngrok.program import _is_pyngrok


def test_where_ngrok_looks_for_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path.home()
    monkeypatch.setattr(sys, "platform", "linux")
    assert default_path() == f"{home}/.config/ngrok/ngrok.yml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/elsewhere")
    assert default_path() == "/elsewhere/ngrok/ngrok.yml"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_path() == f"{home}/Library/Application Support/ngrok/ngrok.yml"


def test_there_is_none() -> None:
    assert users_file(NgrokConfig()) is None


@pytest.mark.parametrize(
    ("text", "version", "secrets"),
    [
        ('version: "2"\nauthtoken: 2abc_DEF\napi_key: "key_1"\n', 2, ["2abc_DEF", "key_1"]),
        ("version: 3\nagent:\n    authtoken: 2abc_DEF # mine\n", 3, ["2abc_DEF"]),
        ("agent: {authtoken: '2abc_DEF', web_addr: false}", None, ["2abc_DEF"]),
        ('{"version": 3, "agent": {"authtoken": "2abc_DEF"}}', None, ["2abc_DEF"]),
        ("authtoken: 2abc_DEF\n\tbroken: [", None, ["2abc_DEF"]),
        ("", None, []),
    ],
)
def test_what_is_known_of_the_users_file(
    tmp_path: Path, text: str, version: int | None, secrets: list[str]
) -> None:
    path = tmp_path / "ngrok.yml"
    path.write_text(text)
    found = users_file(NgrokConfig(config_file=str(path)))
    assert found is not None
    assert found.version == version
    assert [secret.get_secret_value() for secret in found.secrets] == secrets
    assert "2abc" not in repr(found)


def test_the_port_of_the_page_is_free_and_nobodys_by_chance() -> None:
    with written(NgrokConfig(), None, None) as files:
        assert files.web_addr is not None
        host, _, port = files.web_addr.rpartition(":")
        assert int(port) in PORTS
        with socket.socket() as listener:
            listener.bind((host, int(port)))


def test_a_taken_port_is_passed_over(busy_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = iter([busy_port, busy_port, busy_port + 1])
    monkeypatch.setattr("secrets.choice", lambda _: next(offered))
    with written(NgrokConfig(), None, None) as files:
        assert files.web_addr == f"127.0.0.1:{busy_port + 1}"


def test_what_cannot_be_read_is_no_script() -> None:
    assert not _is_pyngrok("/nowhere/ngrok")
