"""What a dead host left, in a new PID namespace, where no other guard of this machine runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prx_tunnel_core.process._reaper import procfs, tokens
from support.proc import PROGRAMS, TESTS, gone, heard, host, program
from support.programs import needs_program

APART = ("--pid", "--fork", "--kill-child", "--mount-proc")
PRELUDE = """
import os, signal, subprocess, sys
from prx_tunnel_core.process._reaper import orphans, procfs, sweep, tokens
from support.left import (
    carrying, dead_process, left_by_a_dead_host, naming, next_start, stubborn
)
from support.proc import alive, gone, guard_pid, heard, host, program, say, state
"""
LIMIT = 5.0  # seconds; it takes less than one when the machine is idle


def apart(code: str | Path, *arguments: str, among_users: bool = False) -> str:
    """Run code, or a file of PROGRAMS, as the first process of a namespace; returns its output.

    Only root can make a namespace with other users in it.
    """
    source = [str(code)] if isinstance(code, Path) else ["-c", PRELUDE + code]
    unshare = [needs_program("unshare"), *(() if among_users else ("-Ur",)), *APART]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip(f"needs Linux with PID namespaces for {'root' if among_users else 'all'}")
    done = subprocess.run(
        [*unshare, sys.executable, "-W", "error", *source, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def left_by_a_dead_host(name: str = "host_stubborn", *arguments: str) -> list[int]:
    """Start such a host, kill its guard and it; returns the programs that are left."""
    with host(PROGRAMS / f"{name}.py", *arguments) as process:
        its_guard, *pids = map(int, heard(process))
        os.kill(its_guard, signal.SIGKILL)
        gone([its_guard], LIMIT)
        process.kill()
    return pids


@contextmanager
def next_start() -> Iterator[subprocess.Popen[str]]:
    """Run the next host meanwhile."""
    with host(PROGRAMS / "host_waiting.py") as process:
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


def carrying(token: str, *command: str, out: int = 1) -> int:
    """Start a process with that token, which is not waited for."""
    command = command or ("/bin/sleep", "600")
    environ = os.environ | {tokens.TOKEN_VARIABLE: token}
    actions = [(os.POSIX_SPAWN_DUP2, out, 1)]
    return os.posix_spawn(command[0], command, environ, file_actions=actions)


def stubborn(token: str) -> int:
    """One that only KILL ends: by then others that were asked have had half a second, too."""
    listening, telling = os.pipe()
    pid = carrying(token, *program("ignore:TERM", "print:ready", "hang"), out=telling)
    os.close(telling)
    with open(listening, "rb") as said:
        said.readline()
    return pid
