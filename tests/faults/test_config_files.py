"""J: a configuration file that is no file, no text or no TOML, or that nobody should trust."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from prx_tunnel_core._configfile import LARGEST_FILE, load
from prx_tunnel_core.errors import ConfigError
from support.command import Prx


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def write(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def refused(file: Path, content: str | bytes) -> str:
    """What is said of that content; it names the file, and comes soon."""
    write(file, content)
    begun = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    assert time.monotonic() - begun < 5
    said = str(caught.value)
    assert said.startswith(f"{file}: ")
    assert len(said) < 500
    return said


@pytest.fixture
def prx(tmp_path: Path) -> Prx:
    """Nothing that it starts stays: each of these starts is refused."""
    return Prx(tmp_path)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[tunnel]\nlocal_port = 1\nlocal_port = 2\n", 3),
        ("[tunnel]\n[tunnel]\n", 2),
        ("[tunnel]\nreconnect = 1\n[tunnel.reconnect]\n", 3),
        ("[tunnel.reconnect]\n[tunnel]\nreconnect = 1\n", 3),
    ],
)
def test_j01_twice(file: Path, content: str, line: int) -> None:
    assert f"line {line}" in refused(file, content)


def test_j01_a_person_reads_one_line(prx: Prx) -> None:
    write(prx.config, "[tunnel]\n[tunnel]\n")
    done = prx("tunnel", "start")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"prx: {prx.config}: ")
    assert len(done.stderr.splitlines()) == 1


def test_j02_a_byte_order_mark(file: Path) -> None:
    said = refused(file, b"\xef\xbb\xbf[tunnel]\nlocal_port = 3000\n")
    assert "save it as UTF-8 without BOM" in said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "latin-1", "cp1252"])
def test_j03_not_utf_8(file: Path, encoding: str) -> None:
    """Some happen to be UTF-8, with NULs in it, and are no TOML."""
    said = refused(file, "# ä\n[tunnel]\n".encode(encoding))
    assert "not UTF-8" in said or "line 1" in said


@pytest.mark.parametrize(
    "content",
    [
        "a = " + "[" * 500 + "]" * 500 + "\nb = [[",
        "a = " + "[" * 50_000,
        "[tunnel]\nbackend = 'a'\n" + "a." * 5000 + "a = 1",
        "a = " + "{a = " * 20_000,
        "[tunnel]\nbackend = 'x'\n[tunnel.x]\n" + "b." * 3000 + "b = '${X}'",
    ],
    ids=["arrays", "many arrays", "dotted", "inline tables", "dotted, expanded"],
)
def test_j04_nested_beyond_reason(file: Path, content: str) -> None:
    said = refused(file, content)
    assert "nested too deeply" in said or "(at " in said or "at end of document" in said


def test_j05_a_number_of_5000_digits(file: Path) -> None:
    assert "digits" in refused(file, "[tunnel]\nlocal_port = " + "9" * 5000)


@pytest.mark.parametrize(
    "content", ["a = '" + "x" * 10_000_000 + "'", "".join(f"k{n} = 1\n" for n in range(200_000))]
)
def test_j06_larger_than_any_configuration(file: Path, content: str) -> None:
    assert len(content) > LARGEST_FILE
    begun = time.monotonic()
    assert "larger than 1024 KiB" in refused(file, content)
    assert time.monotonic() - begun < 0.5  # it is not even parsed


def test_j11_what_is_no_regular_file(file: Path, tmp_path: Path) -> None:
    os.mkfifo(file, 0o600)
    for path in (file, Path("/dev/zero"), tmp_path):
        begun = time.monotonic()
        with pytest.raises(ConfigError, match=r"not a regular file|Is a directory"):
            load(path, environ={})
        assert time.monotonic() - begun < 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_j11_a_link_to_a_file_of_another_user(file: Path, tmp_path: Path) -> None:
    theirs = write(tmp_path / "theirs.toml", "[tunnel]\n")
    os.chown(theirs, 65534, -1)
    file.symlink_to(theirs)
    with pytest.raises(ConfigError, match=r"it belongs to nobody \(uid 65534\)"):
        load(file, environ={})


def test_j12_a_secret_that_others_can_read_is_warned_about(prx: Prx) -> None:
    prx.configure(lab="token = 'canary-0123456789'\nsteps = ['setup enough']")
    for mode, said in ((0o640, True), (0o600, False)):
        prx.config.chmod(mode)
        assert (f"chmod go-r {prx.config}" in prx("tunnel", "start").stderr) is said


@pytest.mark.parametrize("mode", [0o602, 0o666, 0o777])
def test_j12_a_file_that_others_can_write_is_refused(prx: Prx, mode: int) -> None:
    prx.config.chmod(mode)
    done = prx("tunnel", "start")
    assert done.returncode == 2
    assert "it can be changed by other users" in done.stderr
    assert f"; run: chmod go-w {prx.config}" in done.stderr


def test_j13_the_working_directory_is_not_looked_at(prx: Prx) -> None:
    """Neither config.toml there, nor any other: one that was unpacked there would run programs."""
    here = prx.home / "downloads"
    for folder in (here, here / "prx", here / ".config" / "prx"):
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "config.toml", "[tunnel]\nbackend = 'from-the-working-directory'\n")
    del prx.environ["PRX_CONFIG"]
    done = prx("tunnel", "doctor", "--backend", "lab", cwd=here)
    assert "configuration    no file; write one with: prx init" in done.stdout


def test_j22_editing_it_changes_nothing_until_a_new_start(tmp_path: Path) -> None:
    prx = Prx(tmp_path)
    try:
        pid = prx.detach()
        prx.config.write_text("this is no TOML")
        assert prx.status()["info"]["local_port"] == 3000
        prx.config.unlink()
        assert (prx.status()["state"], prx.status()["pid"]) == ("connected", pid)
        assert prx("tunnel", "health").returncode == 0
        os.kill(pid, signal.SIGHUP)  # is a stop, and no "read it again"
        done = prx("tunnel", "start", "--detach")
        assert "config.toml" in done.stderr
    finally:
        prx.close()


@pytest.mark.parametrize("content", ["", "\n\n# nothing\n", "[agent]\nname = 'x'\n"])
def test_j23_an_empty_file_is_the_documented_defaults(file: Path, content: str) -> None:
    config = load(write(file, content), environ={})
    assert (config.tunnel.backend, config.tunnel.local_port) == ("cloudflare", 3000)
    assert not config.exposes


def test_j23_the_defaults_are_said(prx: Prx) -> None:
    """Cloudflare without a token is a quick tunnel: a start names the backend, the doctor tells."""
    write(prx.config, "")
    said = prx("tunnel", "doctor").stdout
    assert "backend          cloudflare: " in said
    assert "a quick tunnel: no credentials, a new URL at every start" in said
