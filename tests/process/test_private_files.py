"""Private files: only this user reads them, and they are removed however the host ends."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.process import private_file, private_folder, write_private
from prx_tunnel_core.process._reaper.folders import PREFIX, remove_abandoned
from support.proc import PROGRAMS, gone, heard, host

WITHIN = 10.0  # seconds; it takes less than two when the machine is idle
HOST = PROGRAMS / "private_file.py"
NEXT = PROGRAMS / "host_waiting.py"
FORK = PROGRAMS / "private_folder_fork.py"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def until(condition: Callable[[], bool]) -> None:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < WITHIN
        time.sleep(0.01)


def killed_with_its_guard() -> Path:
    """The file that such a host leaves."""
    with host(HOST) as process:
        guards, program, path = heard(process)
        os.kill(int(guards), signal.SIGKILL)
        gone([int(guards)], WITHIN)
        process.kill()
        process.wait()
        os.kill(int(program), signal.SIGKILL)
    return Path(path)


def test_a_private_file_is_this_users_alone_and_goes(temporary: Path) -> None:
    with private_file("a.json", "{}") as path, private_folder() as folder:
        assert Path(path).read_text(encoding="utf-8") == "{}"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
        Path(folder, "below").mkdir()
        write_private(os.path.join(folder, "below"), "b", b"\x00")
        Path(folder, "link").symlink_to(temporary.parent)
        with pytest.raises(FileExistsError):
            write_private(folder, "link", "")
    assert os.listdir(temporary) == []
    assert temporary.parent.exists()


def test_s05_a_folder_for_temporary_files_that_others_could_change(temporary: Path) -> None:
    """They could replace ours by another folder, or a link."""
    abandoned = temporary / f"{PREFIX}abandoned"
    abandoned.mkdir(0o700)
    temporary.chmod(0o777)
    remove_abandoned(str(temporary))
    assert abandoned.exists()
    with pytest.raises(SetupError) as caught, private_file("a", "the token"):
        raise AssertionError("written")
    assert str(caught.value) == (
        f"private files cannot be kept in {temporary}: the folder {temporary} can be changed by "
        f"other users (mode 777); run: chmod go-w {temporary}, or set TMPDIR to a folder that only "
        "you can change"
    )
    temporary.chmod(0o1777)
    with private_file("a", "the token"):
        assert not abandoned.exists()


def test_it_goes_also_when_the_body_fails(temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), private_folder():
        raise KeyboardInterrupt
    assert os.listdir(temporary) == []


def test_u02_the_guard_removes_it_when_the_host_is_killed(temporary: Path) -> None:
    with host(HOST) as process:
        _, program, path = heard(process)
        assert Path(path).read_text(encoding="utf-8") == "the-token"
        process.kill()
        gone([int(program)], WITHIN)
        until(lambda: os.listdir(temporary) == [])


@pytest.mark.heavy
def test_u02_a_new_guard_knows_of_it(temporary: Path) -> None:
    with host(HOST, "replace the guard") as process:
        heard(process)
        process.kill()
        until(lambda: os.listdir(temporary) == [])


@pytest.mark.heavy
def test_u02_killed_with_its_guard_the_next_use_removes_it() -> None:
    path = killed_with_its_guard()
    assert path.exists()
    with private_folder():
        assert not path.parent.exists()


def test_u02_or_the_guard_of_the_next_host(temporary: Path) -> None:
    killed_with_its_guard()
    with host(NEXT) as process:
        heard(process)
        until(lambda: os.listdir(temporary) == [])
        process.communicate()


@pytest.mark.heavy
def test_u02_what_another_process_uses_stays() -> None:
    with host(HOST) as process:
        *_, path = heard(process)
        os.kill(process.pid, signal.SIGSTOP)
        with private_folder():
            assert Path(path).exists()
        with host(NEXT) as other:
            heard(other)
            other.communicate()
        assert Path(path).exists()


@pytest.mark.heavy
def test_u02_a_fork_keeps_no_folder_of_a_dead_host(temporary: Path) -> None:
    with host(FORK) as process:
        guards, worker, folder = heard(process)
        os.kill(int(guards), signal.SIGKILL)
        gone([int(guards)], WITHIN)
        process.kill()
        process.wait()
        assert os.path.isdir(folder)
        remove_abandoned(str(temporary))
        os.kill(int(worker), signal.SIGKILL)
        assert os.listdir(temporary) == []


@pytest.mark.heavy
def test_a_fork_that_leaves_the_context_removes_nothing(temporary: Path) -> None:
    with host(FORK, "leave the context") as process:
        _, worker, folder = heard(process)
        gone([int(worker)], WITHIN)
        assert os.path.isdir(folder)
        process.communicate()
    assert os.listdir(temporary) == []


def test_u02_what_only_looks_like_one_stays(temporary: Path) -> None:
    elsewhere = temporary.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (temporary / f"{PREFIX}file").write_text("")
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    (temporary / f"{PREFIX}open").mkdir(mode=0o755)
    (temporary / "other").mkdir(mode=0o700)
    before = sorted(os.listdir(temporary))
    remove_abandoned(str(temporary))
    assert sorted(os.listdir(temporary)) == before
    assert elsewhere.exists()
    remove_abandoned(str(temporary / "missing"))


def test_u02_every_plugin_uses_it() -> None:
    root = Path(__file__).parents[2]
    sources = [
        *(root / "plugins").glob("*/prx_tunnel_*/**/*.py"),
        *(root / "examples").rglob("*.py"),
    ]
    users = {path.name for path in sources if "tempfile" in path.read_text(encoding="utf-8")}
    assert users == {"slack_tokens.py"}  # replaces a file that is kept
