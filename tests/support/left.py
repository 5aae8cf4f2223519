"""What a dead host left, in a PID namespace of its own: no other guard of this machine is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from prx_tunnel_core.process import _group
from prx_tunnel_core.process._reaper import procfs
from support.proc import TESTS, gone, heard, host, program
from support.programs import needs_program

APART = ("--pid", "--fork", "--kill-child", "--mount-proc")
PRELUDE = """
import os, signal, subprocess, sys
from prx_tunnel_core.process import _group
from prx_tunnel_core.process._reaper import orphans, procfs
from support.left import (
    bearing, dead_process, left_by_a_dead_host, naming, next_start, stubborn
)
from support.proc import alive, gone, guard_pid, heard, host, program, say, state
"""
STUBBORN = """
command = program(
    "child:ignore:TERM;pid:child;hang", "escape:ignore:TERM;pid:escaped;hang",
    "daemonize:ignore:TERM;pid:daemon;closeout;hang", "child:pid:stopped;stop;hang",
    "ignore:TERM", "pid:leader", "hang",
)

async def main():
    async with open_process(command) as process:
        labels = ("child", "escaped", "daemon", "stopped", "leader")
        say(guard_pid(), *[await pid_of(process, label) for label in labels])
        await anyio.sleep_forever()

anyio.run(main)
"""
STARTED = """
guard.prepare()
say(guard_pid())
sys.stdin.read()
"""
LIMIT = 5.0  # seconds; it takes less than one when the machine is idle


def apart(code: str, *arguments: str, among_users: bool = False) -> str:
    """Run the code as the first process of a namespace; what it printed.

    Only root can have a namespace with other users in it.
    """
    unshare = [needs_program("unshare"), *(() if among_users else ("-Ur",)), *APART]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip(f"needs Linux with PID namespaces for {'root' if among_users else 'all'}")
    done = subprocess.run(
        [*unshare, sys.executable, "-W", "error", "-c", PRELUDE + code, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def left_by_a_dead_host(code: str = STUBBORN, *arguments: str) -> list[int]:
    """Start such a host, kill its guard and it; the programs that are left."""
    with host(code, *arguments) as process:
        its_guard, *pids = map(int, heard(process))
        os.kill(its_guard, signal.SIGKILL)
        gone([its_guard], LIMIT)
        process.kill()
    return pids


@contextmanager
def next_start() -> Iterator[subprocess.Popen[str]]:
    """The next host, until it is told to end."""
    with host(STARTED) as process:
        heard(process)
        yield process
        process.communicate()
        assert process.returncode == 0


def naming(pid: int, start: int | None = None, namespaces: tuple[int, int] | None = None) -> str:
    """A token of a host with that number."""
    start = int(procfs.start_time(pid)) if start is None else start
    where = procfs.origin()[1:] if namespaces is None else namespaces
    return ".".join(map(str, ("0" * 24, pid, start, *where, 1))) + ";"


def dead_process() -> tuple[int, int]:
    """The number of a process that is gone, and when it started."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        start = int(procfs.start_time(process.pid))
        process.kill()
    return process.pid, start


def bearing(token: str, *command: str, out: int = 1) -> int:
    """A process with that in its environment, which nobody waits for."""
    command = command or ("/bin/sleep", "600")
    environ = os.environ | {_group.TOKEN_VARIABLE: token}
    actions = [(os.POSIX_SPAWN_DUP2, out, 1)]
    return os.posix_spawn(command[0], command, environ, file_actions=actions)


def stubborn(token: str) -> int:
    """One that only KILL ends: when it has, others that were asked had half a second, too."""
    listening, telling = os.pipe()
    pid = bearing(token, *program("ignore:TERM", "print:ready", "hang"), out=telling)
    os.close(telling)
    with open(listening, "rb") as said:
        said.readline()
    return pid
