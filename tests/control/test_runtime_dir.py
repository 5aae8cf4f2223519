"""The runtime directory: which one it is, and that other users can neither enter nor replace it."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import pytest

from prx_tunnel_core import SetupError
from prx_tunnel_core._control import client, runtime_dir
from prx_tunnel_core._control.name_lock import NameLock
from prx_tunnel_core.errors import ConfigError
from support import acl

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("open", "is open to other users; run: chmod 700"),
        ("symlink", "is not a directory"),
        ("file", "is not a directory"),
        ("relative", "is not an absolute path"),
        pytest.param(
            "foreign",
            "belongs to user 65534, and you are user 0",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away"),
        ),
        ("below a file", "is not a directory"),
    ],
)
def test_h08_a_directory_that_cannot_be_trusted(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, kind: str, reason: str
) -> None:
    if kind in ("open", "foreign"):
        runtime.mkdir(0o700)
        runtime.chmod(0o750) if kind == "open" else os.chown(runtime, 65534, -1)
    elif kind == "symlink":
        (runtime.parent / "elsewhere").mkdir(0o700)
        runtime.symlink_to(runtime.parent / "elsewhere")
    elif kind == "relative":
        monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", "runtime")
    else:
        runtime.touch()
        if kind == "below a file":
            monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(runtime / "below"))
    with pytest.raises(SetupError, match=reason) as caught:
        NameLock("default")
    assert "PRX_TUNNEL_RUNTIME_DIR" in str(caught.value)


@pytest.mark.parametrize("way", ["open/runtime", "open/below/runtime", "link/runtime"])
def test_h08_a_directory_that_others_could_replace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    folder = tmp_path / "open"
    (folder / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder / "below")
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(tmp_path / way))
    NameLock("default").release()
    folder.chmod(0o777)
    for use in (NameLock, partial(client.call, "status")):
        with pytest.raises(SetupError, match="is not trusted") as caught:
            use("default")
        assert f"the folder {folder} can be changed by other users" in str(caught.value)
        assert f"run: chmod go-w {folder} (or set PRX_TUNNEL_RUNTIME_DIR" in str(caught.value)
    folder.chmod(0o1777)  # as /tmp is: nobody moves what belongs to somebody else
    NameLock("default").release()


def test_h08_a_link_that_others_could_replace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "well").mkdir()
    (tmp_path / "open/link").symlink_to(tmp_path / "well")
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(tmp_path / "open/link/runtime"))
    with pytest.raises(SetupError, match=f"chmod go-w {tmp_path}/open"):
        NameLock("default")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("how", ["owner", "group", "acl"])
def test_s05_a_folder_above_that_others_could_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    above = tmp_path / "above"
    (above / "below").mkdir(parents=True)
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(above / "below" / "runtime"))
    NameLock("default").release()
    if how == "acl":
        acl.give(above, (acl.USER, 12345, 7))
    else:
        above.chmod(0o775)
        os.chown(above, 12345 if how == "owner" else 0, 12345)
    for use in (NameLock, partial(client.call, "status")):
        with pytest.raises(SetupError, match=f"is not trusted: the folder {above} ") as caught:
            use("default")
        helps = {"owner": "chown root:", "group": "chmod go-w", "acl": "setfacl -b"}[how]
        assert f"run: {helps} {above}" in str(caught.value)


def test_h08_a_session_directory_that_is_open_to_all_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRX_TUNNEL_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "session"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")  # where there is no /run/user
    (tmp_path / "session").mkdir()
    assert runtime_dir.runtime_path() == f"{tmp_path}/session/prx-tunnel"
    (tmp_path / "session").chmod(0o777)
    assert runtime_dir.runtime_path() == f"{tmp_path}/Library/Caches/TemporaryItems/prx-tunnel"


def test_the_directory_is_found_without_an_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRX_TUNNEL_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_dir.runtime_path() == f"{tmp_path}/prx-tunnel"
    # H24: a session's variable in a container that has no such directory
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert runtime_dir.runtime_path() == f"{tmp_path}/.local/state/prx-tunnel/run"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert runtime_dir.runtime_path() == f"{tmp_path}/Library/Caches/TemporaryItems/prx-tunnel"


@pytest.mark.parametrize("name", ["a", "0", "a.b_c-d", "x" * 32])
def test_names(name: str) -> None:
    assert runtime_dir.check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", ".a", "-a", "a/b", "..", "ä", "a\n", "x" * 33, "a b"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match="tunnel name"):
        NameLock(name)
