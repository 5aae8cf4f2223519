"""The guard of a host: its start, its end and its orders. More: `faults/test_host_ends.py`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prx_tunnel_core.process._reaper import guard, guard_main, procfs, tokens
from support.proc import PROGRAMS, alive, gone, heard, host, pids_of, program

WITHIN = 2.0


def test_a_new_guard_knows_the_groups_of_one_that_was_killed(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    with host(PROGRAMS / "guard_killed.py", str(asked)) as process:
        pids = pids_of(process)
        process.kill()
        gone(pids, WITHIN)
    assert asked.exists()


def test_who_left_its_group_is_asked_to_leave_too(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    with host(PROGRAMS / "guard_stray.py", str(asked)) as process:
        pids = pids_of(process)
        process.kill()
        gone(pids, WITHIN)
    assert asked.exists()


@pytest.mark.parametrize("arguments", [[], ["with a new guard"]])
@pytest.mark.parametrize("killed", [False, True])
def test_who_is_spared_lives_on_however_the_host_ends(arguments: list[str], killed: bool) -> None:
    with host(PROGRAMS / "guard_spares.py", *arguments) as process:
        spared, *pids = pids_of(process)
        try:
            if killed:
                process.kill()
            else:
                assert process.stdin is not None
                process.stdin.close()
                assert process.wait() == 0
            gone(pids, WITHIN)
            assert alive(spared)
        finally:
            os.kill(spared, signal.SIGKILL)


def test_a_forked_worker_that_holds_the_pipe_keeps_nothing_alive() -> None:
    with host(PROGRAMS / "guard_and_worker.py") as process:
        worker, *pids = pids_of(process)
        try:
            process.kill()
            gone(pids, WITHIN)
            assert alive(worker), "it is the host's own business"
        finally:
            os.kill(worker, signal.SIGKILL)
            gone([worker], WITHIN)


def test_one_guard_for_all_threads_and_programs() -> None:
    with host(PROGRAMS / "guard_of_threads.py") as process:
        assert heard(process) == ["1", "0", "1"]
        assert process.wait() == 0


def test_a_frozen_guard_stalls_nobody() -> None:
    with host(PROGRAMS / "guard_frozen.py") as process:
        pids = pids_of(process)
        begun = time.monotonic()
        assert process.wait() == 0
        assert time.monotonic() - begun < 1
        gone(pids, WITHIN)


@pytest.mark.parametrize("arguments", [["/usr/bin/uwsgi"], [""], [sys.executable, "frozen"]])
def test_a_host_that_is_no_interpreter_is_not_started_again(arguments: list[str]) -> None:
    with host(PROGRAMS / "guard_unavailable.py", *arguments) as process:
        assert heard(process) == ["None", "1"]
        assert process.wait() == 0


def test_without_a_guard_programs_run_all_the_same() -> None:
    with host(PROGRAMS / "guard_unavailable.py", "/nonexistent/python") as process:
        warning = " ".join(heard(process))
        assert warning.startswith("no guard: programs would outlive a kill of this process")
        while (line := heard(process))[0] == "no":
            pass
        assert line == ["None", "1"]
        assert process.wait() == 0


def test_the_guard_is_not_told_of_what_is_gone() -> None:
    orders = guard_main.Orders()
    started = procfs.start_time(os.getpid())
    orders.note(b"+%d" % os.getpid())
    assert orders.targets == {-os.getpid(): started}
    orders.note(b"-%d" % os.getpid())
    orders.note(b"*%d" % os.getpid())
    assert orders.targets == {os.getpid(): started}
    orders.note(b"-%d" % os.getpid())
    for nobody in (b"-1", b"+1", b"*1", b"+0"):
        orders.note(nobody)
    assert orders.targets == {}


def test_the_script_is_there() -> None:
    assert os.path.samefile(guard.SCRIPT, guard_main.__file__)
    assert program()[0] == sys.executable


def test_a_suspended_program_is_woken_to_end_by_itself(tmp_path: Path) -> None:
    code = (
        "import pathlib, signal, sys\n"
        "def end(*_): pathlib.Path(sys.argv[1]).write_text('by itself'); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "ended")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGSTOP)
        started = procfs.start_time(process.pid)
        guard_main.end({-process.pid: started}, tokens.new_token().encode())
        assert process.wait(5) == 0
    assert (tmp_path / "ended").read_text() == "by itself"
