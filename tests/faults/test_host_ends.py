"""C: however the host ends, its programs end too."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from prx_tunnel_core.process._reaper import guard_main, procfs, sweep, tokens
from support.faults import UP, Programs
from support.proc import alive, gone, heard, host, pids_of, program

LIMIT = 2.0  # seconds after the host's end

SUPERVISED = """
from support.faults import UP, Programs

async def main():
    programs = Programs(program(*sys.argv[3:], *UP))
    async with programs.tunnel() as tunnel:
        await tunnel.start()
        labels = [step.split("pid:")[1].split(";")[0] for step in sys.argv[3:]]
        pids = [await pid_of(programs.latest, label) for label in labels]
        say(programs.latest.pid, guard_pid(), *pids)
        up.set()
        exec(sys.argv[2])
        await anyio.sleep_forever()

up = threading.Event()
"""
IN_MAIN = SUPERVISED + "anyio.run(main, backend=sys.argv[1])"
IN_A_THREAD = SUPERVISED + (
    "threading.Thread(target=anyio.run, args=(main,), daemon=True).start(); up.wait()\n"
    "exec(sys.argv[1])"
)
LEFTOVERS = (
    "child:ignore:TERM;pid:child;hang",
    "escape:ignore:TERM;pid:escaped;hang",
    "daemonize:ignore:TERM;pid:daemon;closeout;hang",
    "child:pid:stopped;stop;hang",
)


def test_c04_a_killed_host_leaves_nothing() -> None:
    with host(IN_MAIN, "asyncio", "pass", *LEFTOVERS) as process:
        pids = pids_of(process)
        assert len(pids) == 6
        assert all(map(alive, pids))
        process.kill()
        gone(pids, LIMIT)


def test_c05_the_end_of_the_thread_that_started_it_does_not_end_it() -> None:
    programs, loop = Programs(), asyncio.new_event_loop()
    up, done = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with programs.tunnel() as tunnel:
            await tunnel.start()
            up.set()
            await done.wait()

    living = loop.create_task(live())
    starter = threading.Thread(target=loop.run_until_complete, args=(up.wait(),))
    starter.start()
    starter.join()
    assert alive(programs.latest.pid)
    done.set()
    loop.run_until_complete(living)
    loop.close()
    assert programs.latest.returncode == -signal.SIGTERM, "not by the signal of a dead parent"


STARTING = """
async def restart():
    while True:
        async with open_process(program("escape:ignore:TERM;hang", "hang"), grace=0.01):
            pass

async def main():
    guard.prepare()
    say(tokens.host_token(), guard_pid())
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(restart)

anyio.run(main)
"""


def test_c06_killed_between_the_start_of_a_program_and_all_that_follows() -> None:
    with ExitStack() as hosts:
        started = [hosts.enter_context(host(STARTING)) for _ in range(5)]
        for number, process in enumerate(started):
            token, its_guard = heard(process)
            time.sleep(0.013 * number)  # not to wait for anything: to be killed elsewhere
            process.kill()
            gone([int(its_guard)], LIMIT)
            assert sweep.carriers(tokens.of_host(token.encode())) == []


@pytest.fixture
def another_users_program() -> Iterator[str]:
    """A set-user-id program: the system clears its parent-death signal when it starts."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a program that changes its user")
    with tempfile.TemporaryDirectory(prefix="prx-fault-") as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "sleeper"
        shutil.copy("/bin/sleep", path)
        path.chmod(0o4755)
        yield str(path)


AS_NOBODY = """
async def main():
    guard.prepare()  # before this user cannot read the interpreter any more
    os.setresuid(65534, 65534, 65534)
    async with open_process([sys.argv[1], "1000"]) as process:
        say(process.pid, guard_pid())
        await anyio.sleep_forever()

anyio.run(main)
"""


def test_c07_a_program_that_changes_its_user(another_users_program: str) -> None:
    with host(AS_NOBODY, another_users_program) as process:
        pid, its_guard = map(int, heard(process))
        status = Path(f"/proc/{pid}/status").read_text()
        assert "Uid:\t65534\t0\t0" in status
        process.kill()
        gone([pid, its_guard], LIMIT)


def test_c08_a_number_that_is_now_another_process_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x) R 1 ("  # as /proc shows it, its name ends elsewhere
    shutil.copy("/bin/sleep", path)
    with subprocess.Popen([path, "1000"], start_new_session=True) as other:
        try:
            begun = procfs.start_time(other.pid)
            assert begun.isdigit()
            guard_main.end({-other.pid: b"1", other.pid: b"1"}, b"no such token")
            assert other.poll() is None
            guard_main.end({-other.pid: begun}, b"no such token")
            assert other.wait(5) == -signal.SIGTERM
        finally:
            other.kill()


def test_c17_the_end_of_asyncio_run_is_an_orderly_stop() -> None:
    """It cancels every task at once, also those that read and watch."""
    programs = Programs(program("on:TERM,sleep:0.05+print:bye+exit:0", *UP))

    async def live(up: asyncio.Event) -> None:
        async with programs.tunnel(grace=30) as tunnel:
            await tunnel.start()
            up.set()
            await asyncio.sleep(3600)

    async def main() -> None:
        up = asyncio.Event()
        living = asyncio.create_task(live(up))
        await up.wait()
        assert not living.done()

    begun = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - begun < 5
    assert programs.latest.tail[-1] == "bye"


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("threading.Thread(target=sys.exit).start(); sys.exit(3)", 3),
        ("raise LookupError", 1),
    ],
)
def test_c19_a_host_that_ends_beside_its_tunnel(ending: str, code: int) -> None:
    with host(IN_A_THREAD, ending, "pass", *LEFTOVERS[:2]) as process:
        pids = pids_of(process)
        assert process.wait(10) == code
        gone(pids, LIMIT)


def test_c19_a_host_that_ends_within_its_tunnel() -> None:
    with host(IN_MAIN, "trio", "sys.exit(3)") as process:
        pids = pids_of(process)
        assert process.wait(10) == 3
        gone(pids, LIMIT)
