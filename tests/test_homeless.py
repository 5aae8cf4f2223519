"""A user without a home directory, and one without a name: each place that asks for them."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from prx_tunnel_cloudflare import diagnose as cloudflare
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_ngrok import policy
from prx_tunnel_ngrok.agentfile import users_file
from prx_tunnel_ngrok.config import NgrokConfig
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.credentials import (
    agent_socket,
    complete_environment,
    open_keys,
    read_key,
    user_name,
)
from prx_tunnel_ssh.diagnose import diagnose
from prx_tunnel_ssh.hostkeys import read_known_hosts
from prx_tunnel_webhooks.config import WebhooksConfig

from prx_tunnel_core import _configfile
from prx_tunnel_core._cli import logs
from prx_tunnel_core._control import runtime_dir as place
from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError, SetupError
from prx_tunnel_core.expansion import expand_home
from prx_tunnel_core.process import find_program
from support.nameless import forget_the_user

NO_HOME = r"~/x: this user has no home directory; set HOME, or write the whole path"
TOKENS = {"refresh_token": "a" * 20, "token_file": "~/x"}
SLACK = {"kind": "slack", "path": "/h", "app_id": "A0", **TOKENS}


@pytest.fixture(autouse=True)
def _nobody_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_the_user(monkeypatch)
    # A folder of that name in the working directory is not a home.
    (tmp_path / "~" / ".config" / "ngrok").mkdir(parents=True)
    for name in ("x", ".config/ngrok/ngrok.yml"):
        (tmp_path / "~" / name).write_text("#!/bin/sh\n")
        (tmp_path / "~" / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)


PLACES: dict[str, Callable[[], object]] = {
    "a program": lambda: find_program("~/x"),
    "cloudflare token_file": lambda: CloudflareConfig(token_file="~/x").load_credentials(),
    "ngrok config_file": lambda: users_file(NgrokConfig(config_file="~/x")),
    "ngrok traffic_policy": lambda: policy.build(NgrokConfig(traffic_policy="~/x")),
    "ssh known_hosts": lambda: read_known_hosts(SshConfig(host="a", known_hosts="~/x")),
    "ssh identity_file": lambda: read_key(SshConfig(host="a", identity_file="~/x")),
    "ssh agent": lambda: agent_socket(SshConfig(host="a", agent="~/x")),
    "slack token_file": lambda: validate(WebhooksConfig, {"bot": SLACK}, path="webhooks"),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_o06_a_path_in_a_home_that_is_not_there(
    place: Callable[[], object],
) -> None:
    with pytest.raises(ConfigError, match=NO_HOME):
        place()


def test_o06_what_is_only_looked_for_is_not_there() -> None:
    assert users_file(NgrokConfig()) is None
    assert cloudflare._foreign_file().detail == "none in the way"
    assert _configfile.find(environ={}) is None


@pytest.mark.anyio
async def test_o06_the_usual_keys_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    async with open_keys(SshConfig(host="a")) as keys:
        assert keys == []


def test_o06_our_own_files_need_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRX_TUNNEL_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(SetupError, match="set PRX_TUNNEL_RUNTIME_DIR to a directory of yours"):
        place.runtime_path()
    with pytest.raises(SetupError, match="set XDG_STATE_HOME to a directory"):
        logs.path_of("default")


@pytest.mark.parametrize("error", [KeyError, OSError])  # OSError since Python 3.13
def test_o06_a_name_is_asked_for_where_a_server_wants_one(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> str:
        raise error("no such user")

    monkeypatch.setattr(getpass, "getuser", unknown)
    with pytest.raises(SetupError, match=r"has no name: set username in \[tunnel.ssh\]"):
        user_name()
    config = SshConfig(host="a", known_hosts="/nonexistent/known")
    found = {check.name: check for check in anyio.run(diagnose, config)}
    assert found["credentials"].verdict == "fail"
    assert "set username" in found["credentials"].detail


def test_o06_what_asyncssh_is_given_is_not_taken_for_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    complete_environment()
    assert Path.home() == Path("/nonexistent")
    with pytest.raises(SetupError, match="set username"):
        user_name()
    monkeypatch.setenv("LOGNAME", "ann")
    monkeypatch.setenv("HOME", "/home/ann")
    complete_environment()
    assert (user_name(), os.environ["HOME"]) == ("ann", "/home/ann")


def test_o06_a_tilde_and_what_only_looks_like_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert [expand_home(path) for path in ("~", "~/x", "/~/x", "x/~", "")] == [
        "/home/ann",
        "/home/ann/x",
        "/~/x",
        "x/~",
        "",
    ]
    with pytest.raises(ConfigError, match=r"^key: ~nobody-here/x: there is no user 'nobody"):
        expand_home("~nobody-here/x", "key")
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(ConfigError, match=NO_HOME):
        expand_home("~/x")
