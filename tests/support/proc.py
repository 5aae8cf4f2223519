"""Processes in tests: the stand-in's command line, who runs, who is left, what the host holds."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from prx_tunnel_core.process import TunnelProcess
from prx_tunnel_core.process._reaper import guard, sweep

TESTS = Path(__file__).parent.parent
PROGRAM = Path(__file__).with_name("program.py")
PROGRAMS = TESTS / "process" / "programs"
PRELUDE = """
import os, signal, subprocess, sys, threading, time
import anyio
from prx_tunnel_core.process import open_process
from prx_tunnel_core.process._reaper import guard, sweep, tokens
from support.proc import children, guard_pid, pid_of, program, say, starts
"""


def program(*steps: str) -> list[str]:
    """The command of a stand-in that does these steps."""
    return [sys.executable, "-I", "-S", str(PROGRAM), *steps]


def starts(text: str) -> Callable[[str], str | None]:
    """For `first_match`: the rest of the line that starts so."""
    return lambda line: line.removeprefix(text).strip() if line.startswith(text) else None


async def pid_of(process: TunnelProcess, label: str) -> int:
    """The number of a descendant with the step `pid:label`."""
    return int(await process.first_match(starts(label + " ")))


def say(*words: object) -> None:
    """From a host in a process of its own to the test."""
    print(*words, flush=True)


def guard_pid() -> int | None:
    return None if guard._current is None else guard._current.pid


class Gate:
    """A FIFO that a program's `gate` step waits at; it passes however early it is opened."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / f"gate-{time.monotonic_ns()}")
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDWR)

    def open(self) -> None:
        os.write(self._fd, b"!")

    def close(self) -> None:
        os.close(self._fd)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    return state(pid) not in ("", "Z", "X")


def state(pid: int) -> str:
    return (_after_name(pid) or [""])[0]


def parent(pid: int) -> int:
    return int((_after_name(pid) or ["", "0"])[1])


def _after_name(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def children() -> set[int]:
    """All children of this process, zombies too, but not its guard."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return {pid for pid in pids if parent(pid) == os.getpid()} - {guard_pid()}


async def until(condition: Callable[[], bool], within: float = 10.0) -> float:
    """Wait for what has no event; the seconds that it took. Fails loudly when it does not come."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < within, f"not within {within} s"
        await anyio.sleep(0.002)
    return time.monotonic() - begun


def gone(pids: Iterable[int], within: float) -> float:
    """Wait until none of them runs; the seconds that it took."""
    begun = time.monotonic()
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() - begun < within, f"still run after {within} s: {left}"
        time.sleep(0.002)
    return time.monotonic() - begun


def descriptors() -> dict[str, str]:
    """What this process has open, but the directory that is read for it."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


def memory() -> int:
    """Bytes of this process that are in memory now."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGESIZE")


@contextmanager
def nothing_left() -> Iterator[None]:
    """No child, no process of ours, no descriptor and no thread more than before."""
    guard.prepare()
    before = _held()
    yield
    if _grown(before):
        gc.collect()  # only what is still referred to is a leak
    assert not (grown := _grown(before)), grown
    left = sweep.running()
    commands = [_command(pid) for pid in left]
    for pid in left:  # the next test is not to blame
        os.kill(pid, signal.SIGKILL)
    assert not left, commands


def _held() -> tuple[set[int], dict[str, str], int]:
    # Trio keeps its idle threads for a while, for whoever asks next.
    threads = [each for each in threading.enumerate() if not each.name.startswith("Trio thread")]
    return children(), descriptors(), len(threads)


def _grown(before: tuple[set[int], dict[str, str], int]) -> str:
    pids, fds, threads = _held()
    if pids <= before[0] and len(fds) <= len(before[1]) and threads <= before[2]:
        return ""
    return f"{[_command(pid) for pid in pids - before[0]]} {fds} {threading.enumerate()}"


def _command(pid: int) -> str:
    try:
        return f"{pid} {state(pid)} {Path(f'/proc/{pid}/cmdline').read_text()!r}"
    except OSError:
        return str(pid)


@contextmanager
def host(
    code: str | Path, *arguments: str, options: Iterable[str] = ("-W", "error")
) -> Iterator[subprocess.Popen[str]]:
    """Run a host, as code after the PRELUDE or as a file of PROGRAMS; it is killed at the end."""
    source = [str(code)] if isinstance(code, Path) else ["-c", PRELUDE + code]
    with subprocess.Popen(
        [sys.executable, *options, *source, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent)))},
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def pids_of(process: subprocess.Popen[str]) -> list[int]:
    """The process ids in the next line that a host says."""
    return [int(word) for word in heard(process)]


@contextmanager
def sleeper(**environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with exactly that environment; it is killed at the end."""
    with subprocess.Popen(["/bin/sleep", "600"], env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str]) -> list[str]:
    """The words of the next line that a host says."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        assert process.stderr is not None
        raise AssertionError(f"the host ended: {process.stderr.read()}")
    return line.split()
