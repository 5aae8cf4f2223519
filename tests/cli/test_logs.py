"""`prx tunnel logs`: what a detached tunnel wrote, whatever happens to the file meanwhile."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from prx_tunnel_core._cli import daemon, logs
from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.text import INDENT
from support.command import PATIENCE, Prx, until


@pytest.fixture
def log(prx: Prx) -> Path:
    prx.log.parent.mkdir(parents=True)
    return prx.log


def test_of_a_tunnel_that_was_never_detached(prx: Prx) -> None:
    done = prx("tunnel", "logs", "--name", "hooks")
    assert (done.returncode, done.stdout) == (3, "")
    assert "tunnel 'hooks' has no log" in done.stderr


def test_all_that_is_kept_oldest_first_and_nothing_for_the_terminal(prx: Prx, log: Path) -> None:
    log.with_name("default.log.2").write_text("one\n")
    log.with_name("default.log.1").write_text("two \x1b[31mred\x1b[0m\n")
    log.write_bytes(b"three \xff\n    four\x07\n")
    done = prx("tunnel", "logs")
    assert done.stdout == "one\ntwo red\nthree \N{REPLACEMENT CHARACTER}\n    four\n"
    assert done.returncode == 0


def test_an_object_for_each_line(prx: Prx, log: Path) -> None:
    log.write_text("2026-01-31T12:00:00Z INFO Tunnel connected: x\n    further line\n")
    lines = prx("tunnel", "logs", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"time": "2026-01-31T12:00:00Z", "level": "INFO", "message": "Tunnel connected: x"},
        {"time": None, "level": None, "message": "further line"},
    ]


def test_a_link_to_somewhere_else_is_not_followed(prx: Prx, log: Path) -> None:
    log.symlink_to("/etc/passwd")
    done = prx("tunnel", "logs")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("prx: ")


def test_follow_goes_on_in_the_next_file(prx: Prx, log: Path) -> None:
    log.write_text("one\n")
    following = subprocess.Popen(
        prx.command("tunnel", "logs", "--follow"),
        env=prx.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert until(following, "one") == ["one\n"]
        with log.open("a") as file:
            file.write("tw")
            file.flush()
            log.rename(log.with_name("default.log.1"))
            file.write("o\n")
        log.write_text("three\n")
        assert until(following, "three") == ["two\n", "three\n"]
        following.send_signal(2)
        assert following.communicate(timeout=PATIENCE) == ("", "")
        assert following.returncode == 130
    finally:
        following.kill()
        following.communicate()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Logging of this very process, as it was before."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    root = logging.getLogger()
    handlers = list(root.handlers)
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    yield tmp_path / "prx-tunnel" / "log"
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=False)


LOGGERS = ("prx_tunnel_core", "prx_tunnel_core.program")


def test_i06_the_log_is_bounded(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "LARGEST", 10_000)
    daemon.start_logging("flooded", ())
    for number in range(2_000):
        logging.getLogger("prx_tunnel_core").info("line %d %s", number, "x" * 80)
    sizes = {file.name: file.stat().st_size for file in state.iterdir()}
    assert sorted(sizes) == ["flooded.log", "flooded.log.1", "flooded.log.2", "flooded.log.3"]
    assert max(sizes.values()) <= 10_000
    assert {file.stat().st_mode & 0o777 for file in state.iterdir()} == {0o600}


def test_every_line_of_a_record_is_clean_and_redacted(state: Path) -> None:
    daemon.start_logging("clean", ["tok/0123456789"])
    logger = logging.getLogger("prx_tunnel_core")
    try:
        raise ValueError("with tok/0123456789\n2026-01-31T12:00:00Z INFO forged \x1b[2J")
    except ValueError:
        logger.exception("tried %s", "tok%2F0123456789")
    text = (state / "clean.log").read_text()
    assert "tok" not in text
    assert "\x1b" not in text
    first, *others = text.splitlines()
    assert first.endswith("ERROR tried **********")
    assert all(line.startswith(INDENT) for line in others)


def test_s14_a_carriage_return_forges_no_record(state: Path) -> None:
    daemon.start_logging("forged", ())
    logging.getLogger("asyncio").warning("said %s", "x\r2026-01-31T12:00:00Z CRITICAL forged")
    line = (state / "forged.log").read_bytes()
    assert line.endswith(b" WARNING said x 2026-01-31T12:00:00Z CRITICAL forged\n")


def test_s14_nor_does_one_that_is_in_the_file(prx: Prx, log: Path) -> None:
    log.write_bytes(b"2026-01-31T12:00:00Z INFO a\r2026-01-31T12:00:00Z CRITICAL b\x1b]0;x\x07\n")
    shown = "2026-01-31T12:00:00Z INFO a 2026-01-31T12:00:00Z CRITICAL b\n"
    assert prx("tunnel", "logs").stdout == shown
    (line,) = prx("tunnel", "logs", "--json").stdout.splitlines()
    assert json.loads(line)["level"] == "INFO"


def test_a_secret_is_masked_although_something_invisible_stood_in_it(state: Path) -> None:
    daemon.start_logging("hidden", ["swordfish", "first line\nsecond", "pass\xa0word"])
    log = logging.getLogger("prx_tunnel_core")
    log.error("a %s b %s c %s", "sword\u200bfi\x1b[0msh", "first line\nsecond", "pass\xa0word")
    assert (state / "hidden.log").read_text().endswith("a ********** b ********** c **********\n")


def test_a_library_that_talks_is_not_listened_to(state: Path) -> None:
    daemon.start_logging("quiet", ())
    logging.getLogger("httpx").info("HTTP Request: GET https://lab.example.com")
    assert (state / "quiet.log").read_text() == ""


@pytest.mark.parametrize("loose", ["folder", "file"])
def test_s05_a_log_that_others_could_write(state: Path, loose: str) -> None:
    state.mkdir(parents=True)
    file = state / "loose.log"
    file.touch()
    path = state if loose == "folder" else file
    path.chmod(0o777)
    with pytest.raises(SetupError, match=f"; run: chmod go-w {path}$"):
        daemon.start_logging("loose", ())
    assert file.stat().st_size == 0


def test_s05_a_log_that_others_could_write_is_not_shown(prx: Prx, log: Path) -> None:
    log.write_text("forged\n")
    log.chmod(0o666)
    done = prx("tunnel", "logs")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"prx: {log}: not trusted: it can be changed by other users")


def test_h24_without_any_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(SetupError, match="XDG_STATE_HOME"):
        logs.path_of("default")
