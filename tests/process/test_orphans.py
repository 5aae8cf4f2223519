"""Orphans: what a host left that was killed together with its guard, and how the next ends it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from prx_tunnel_core.process._reaper import guard_main, orphans, procfs, sweep, tokens
from support.left import apart
from support.proc import PROGRAMS, alive, sleeper


def test_c04_what_is_left_of_a_host_that_died_with_its_guard_ends_at_the_next_start() -> None:
    apart(PROGRAMS / "orphans_ended.py")


def test_it_is_asked_to_leave_before_it_is_killed(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    apart(PROGRAMS / "orphans_asked.py", str(asked))
    assert asked.exists()


def test_what_belongs_to_living_hosts_stays() -> None:
    apart(PROGRAMS / "orphans_beside_hosts.py")


def test_s15_a_guard_is_left_to_end_its_own_as_long_as_it_runs() -> None:
    apart(PROGRAMS / "orphans_guarded.py")


READY = "print('ready', flush=True); import time; time.sleep(600)"


def test_s15_what_only_names_the_host_is_no_guard_of_it() -> None:
    apart(PROGRAMS / "orphans_without_guard.py", READY)


@pytest.mark.skipif(not os.path.exists("/usr/bin/python3"), reason="needs a Python for all users")
def test_s15_a_process_of_another_user_is_neither_guard_nor_stray() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        script = Path(folder) / "guard_main.py"
        # To /proc it is root's then, as each process that others may not look into.
        script.write_text(f"import ctypes; ctypes.CDLL(None).prctl(4, 0); {READY}")
        apart(PROGRAMS / "orphans_of_others.py", str(script), among_users=True)


def test_whoever_was_started_by_what_is_left_does_not_end_it() -> None:
    """Otherwise it would end the terminal of its user, and itself."""
    apart(PROGRAMS / "orphans_above.py")


def test_a_guard_whose_host_is_gone_already_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot know any more what that host was started by."""
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("it looks"))
    guard_main.look_for_orphans(os.getpid())


def test_a_host_that_ends_soon_does_not_cut_it_short() -> None:
    apart(PROGRAMS / "orphans_of_short_host.py")


def test_c08_only_a_host_that_is_certainly_gone_is_judged() -> None:
    apart(PROGRAMS / "orphans_judged.py")


SPACES = "{}.{}".format(*procfs.origin()[1:])
HOST = f"{'0' * 24}.1.1.{SPACES}"
TOKEN = f"{HOST}.1;"


@pytest.mark.parametrize(
    "value",
    [
        "", ";", "nonsense", "nonsense;", f"{HOST}.1", f"{TOKEN};", f"{TOKEN}x", f"{TOKEN}x;",
        f"{HOST}.;", f"{HOST}.x;", f"{HOST}.1.1;", f"0.-1.1.{SPACES}.1;", f"0..1.{SPACES}.1;",
        f"0.1.\N{SUPERSCRIPT TWO}.{SPACES}.1;", f"0.1.{'9' * 5000}.{SPACES}.1;",
        f"0.{'9' * 30}.1.{SPACES}.1;", f"{HOST}.agent;",
    ],
    ids=lambda value: value.replace(SPACES, "-")[:40],
)  # fmt: skip
def test_what_is_no_token_tells_nothing(value: str) -> None:
    environ = {tokens.TOKEN_VARIABLE: value}
    with sleeper(**environ) as process:
        assert orphans.dead_host(process.pid) == b""


def test_a_number_that_no_process_can_have() -> None:
    assert not procfs.lives(10**18, 1)


def test_a_number_that_became_another_process_while_it_was_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted, looks = tokens.of_host(b"a host."), 0
    carried = f"{tokens.TOKEN_VARIABLE}=a host.1;".encode()

    def environment(pid: int) -> bytes:
        nonlocal looks
        looks += 1
        return carried if looks == 1 else b""

    monkeypatch.setattr(sweep, "environment", environment)
    with sleeper() as process:
        monkeypatch.setattr(sweep, "processes", lambda: [process.pid])
        sweep.ask(wanted)
        assert looks == 2
        looks = 0
        sweep.kill(wanted)
        assert looks > 1
        assert alive(process.pid)


def test_a_chain_that_is_cut_short_tells_nothing() -> None:
    name = tokens.TOKEN_VARIABLE
    whole = f"PATH=/bin\0X{name}=no;\0{name}={TOKEN}{TOKEN}\0".encode()
    assert tokens.last_token(whole) == TOKEN[:-1].encode()
    assert tokens.last_token(whole[:-1]) == b""


def test_the_user_of_another_process_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert procfs.same_user(os.getpid())
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert not procfs.same_user(os.getpid())


def test_a_process_that_may_not_be_looked_at_is_no_dead_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where /proc is mounted with `hidepid`."""
    monkeypatch.setattr(procfs, "content", lambda path: b"")
    assert procfs.lives(os.getpid(), 1)

    def refuse(pid: int, number: int) -> None:
        raise PermissionError(pid, number)

    monkeypatch.setattr(os, "kill", refuse)
    assert procfs.lives(os.getpid(), 1)
