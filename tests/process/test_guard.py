"""The guard of a host: its own life, and what it is told. Its work: `faults/test_host_ends.py`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prx_tunnel_core.process._reaper import guard, guard_main, procfs
from support.proc import alive, gone, heard, host, program

WITHIN = 2.0


def pids_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(word) for word in heard(process)]


POLITE = """
async def main():
    polite = program(f"on:TERM,touch:{sys.argv[1]}+exit:0", "pid:first", "hang")
    # Without the token, only the number of its group tells of it.
    async with open_process(["env", "-u", _group.TOKEN_VARIABLE, *polite]) as a:
        first = await pid_of(a, "first")
        old = guard_pid()
        os.kill(old, signal.SIGKILL)
        os.waitid(os.P_PID, old, os.WEXITED | os.WNOWAIT)
        async with open_process(program("pid:second", "hang")) as b:
            second = await pid_of(b, "second")
            assert old != guard_pid()
            say(first, second, guard_pid())
            await anyio.sleep_forever()

anyio.run(main)
"""


def test_a_new_guard_knows_the_groups_of_one_that_was_killed(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    with host(POLITE, str(asked)) as process:
        pids = pids_of(process)
        process.kill()
        gone(pids, WITHIN)
    assert asked.exists()


STRAY = """
async def main():
    stray = "escape:on:TERM,touch:" + sys.argv[1] + "+exit:0;pid:stray;stop;hang"
    async with open_process(program(stray, "hang")) as process:
        say(guard_pid(), await pid_of(process, "stray"))
        await anyio.sleep_forever()

anyio.run(main)
"""


def test_who_left_its_group_is_asked_to_leave_too(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    with host(STRAY, str(asked)) as process:
        pids = pids_of(process)
        process.kill()
        gone(pids, WITHIN)
    assert asked.exists()


SPARED = """
guard.prepare()

def bearing(token):
    environ = os.environ | {_group.TOKEN_VARIABLE: token}
    return os.posix_spawn("/bin/sleep", ["sleep", "600"], environ)

spared, ended = bearing(_group.agent_token()), bearing(_group.new_token())
guard.spare(_group.agent_token())
old = guard_pid()
if len(sys.argv) > 1:
    os.kill(old, signal.SIGKILL)
    os.waitid(os.P_PID, old, os.WEXITED | os.WNOWAIT)
    guard.adopt(ended, alone=True)
    assert old != guard_pid()
say(spared, ended, guard_pid())
sys.stdin.read()
"""


@pytest.mark.parametrize("arguments", [[], ["with a new guard"]])
@pytest.mark.parametrize("killed", [False, True])
def test_who_is_spared_lives_on_however_the_host_ends(arguments: list[str], killed: bool) -> None:
    with host(SPARED, *arguments) as process:
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


WORKER = """
async def main():
    async with open_process(program("pid:leader", "hang")) as process:
        leader = await pid_of(process, "leader")
        worker = os.fork()
        if worker == 0:
            os.close(1)
            os.close(2)
            time.sleep(1000)
        say(worker, leader, guard_pid())
        await anyio.sleep_forever()

anyio.run(main)
"""


def test_a_forked_worker_that_holds_the_pipe_keeps_nothing_alive() -> None:
    with host(WORKER) as process:
        worker, *pids = pids_of(process)
        try:
            process.kill()
            gone(pids, WITHIN)
            assert alive(worker), "it is the host's own business"
        finally:
            os.kill(worker, signal.SIGKILL)
            gone([worker], WITHIN)


ONE = """
count = 0

async def run():
    global count
    async with open_process(program("print:up", "hang")) as process:
        await process.first_match(starts("up"))
        count += 1
        while count < 6:
            await anyio.sleep(0.001)
        guards.add(guard_pid())

async def main():
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(run)

guards = set()
threads = [threading.Thread(target=anyio.run, args=(main,)) for _ in range(2)]
for each in threads:
    each.start()
for each in threads:
    each.join()
command = f"/proc/{guard_pid()}/cmdline"
say(len(guards), len(children()), open(command).read().count("guard_main.py"))
"""


def test_one_guard_for_all_threads_and_programs() -> None:
    with host(ONE) as process:
        assert heard(process) == ["1", "0", "1"]
        assert process.wait() == 0


FROZEN = """
async def main():
    guard.prepare()
    os.kill(guard_pid(), signal.SIGSTOP)
    for _ in range(10):
        async with open_process(program("print:up", "hang")) as process:
            await process.first_match(starts("up"))
    say(guard_pid())

anyio.run(main)
"""


def test_a_frozen_guard_stalls_nobody() -> None:
    with host(FROZEN) as process:
        pids = pids_of(process)
        begun = time.monotonic()
        assert process.wait() == 0
        assert time.monotonic() - begun < 1
        gone(pids, WITHIN)


WITHOUT = """
import logging

async def main():
    async with open_process(program("print:up", "hang")) as process:
        await process.first_match(starts("up"))
        say(guard_pid(), len(children()))

logging.basicConfig(stream=sys.stdout, format="%(message)s")
real, sys.executable = sys.executable, sys.argv[1]
sys.frozen = len(sys.argv) > 2
program = lambda *steps, old=program: [real, *old(*steps)[1:]]
anyio.run(main)
"""


@pytest.mark.parametrize("arguments", [["/usr/bin/uwsgi"], [""], [sys.executable, "frozen"]])
def test_a_host_that_is_no_interpreter_is_not_started_again(arguments: list[str]) -> None:
    with host(WITHOUT, *arguments) as process:
        assert heard(process) == ["None", "1"]
        assert process.wait() == 0


def test_without_a_guard_programs_run_all_the_same() -> None:
    with host(WITHOUT, "/nonexistent/python") as process:
        warning = " ".join(heard(process))
        assert warning.startswith("no guard: programs would outlive a kill of this process")
        while (line := heard(process))[0] == "no":
            pass
        assert line == ["None", "1"]
        assert process.wait() == 0


def test_the_guard_is_not_told_of_what_is_gone() -> None:
    targets: dict[int, bytes] = {}
    started = procfs.start_time(os.getpid())
    guard_main.note(b"+%d" % os.getpid(), targets)
    assert targets == {-os.getpid(): started}
    guard_main.note(b"-%d" % os.getpid(), targets)
    guard_main.note(b"*%d" % os.getpid(), targets)
    assert targets == {os.getpid(): started}
    guard_main.note(b"-%d" % os.getpid(), targets)
    for nobody in (b"-1", b"+1", b"*1", b"+0"):
        guard_main.note(nobody, targets)
    assert targets == {}


def test_the_script_is_there() -> None:
    assert os.path.samefile(guard.SCRIPT, guard_main.__file__)
    assert program()[0] == sys.executable
