"""A: what happens while a program is started, and what it inherits."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from prx_tunnel_core import ConfigError, Connected, Tunnel
from prx_tunnel_core.process._reaper import sweep
from prx_tunnel_core.process._spawn import child_environment, spawn
from support.faults import UP, URL, Programs, both_loops
from support.proc import children, heard, host, program, starts

STARVED = """
import logging, resource
from prx_tunnel_core import Connected, Reconnecting
from support.faults import FOR_EVER, Programs, starting
from support.proc import descriptors
from support.tunnel_scenarios import reached

async def main():
    programs = Programs(["/bin/echo", "https://agent.example.com"])
    async with starting(programs.tunnel(reconnect=FOR_EVER)) as statuses:
        await reached(statuses, Connected)  # everything is imported, and the guard runs
    before = len(descriptors())
    limit, most = getattr(resource, sys.argv[1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    old = resource.getrlimit(limit)
    if sys.argv[1] == "RLIMIT_NPROC":  # which does not hold for root
        resource.setrlimit(limit, (1, old[1]))
        os.getuid() or os.setresuid(65534, 65534, 0)
    async with starting(programs.tunnel(reconnect=FOR_EVER)) as statuses:
        if sys.argv[1] == "RLIMIT_NOFILE":
            resource.setrlimit(limit, (max(map(int, descriptors())) + 2, most))
        lost = await reached(statuses, Reconnecting)
        resource.setrlimit(limit, old)
        os.getresuid()[2] or os.setresuid(0, 0, 0)
        await reached(statuses, Connected)
    say(len(descriptors()) - before, lost.reason)

anyio.run(main)
"""


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("RLIMIT_NOFILE", "/bin/echo could not be started: Too many open files"),
        ("RLIMIT_NPROC", "/bin/echo could not be started: Resource temporarily unavailable"),
    ],
)
def test_a14_out_of_descriptors_or_processes(limit: str, reason: str) -> None:
    with host(STARVED, limit) as process:
        leaked, *said = heard(process)
        assert process.wait() == 0
    assert (leaked, " ".join(said)) == ("0", reason)


def test_a15_a_large_host_starts_programs_as_fast_as_a_small_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A `preexec_fn` would copy the tables of all its memory."""
    seen: list[dict[str, Any]] = []
    real = subprocess.Popen

    def popen(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        seen.append(options)
        return real(*args, **options)

    def fastest() -> float:
        times = []
        for _ in range(7):
            begun = time.perf_counter()
            with spawn(["/bin/true"], env=child_environment({}, "")[0], cwd=None) as process:
                times.append(time.perf_counter() - begun)
                process.wait()
        return min(times)

    small = fastest()
    ballast = b"x" * (256 << 20)
    monkeypatch.setattr(subprocess, "Popen", popen)
    assert fastest() < 3 * small + 0.002
    assert len(ballast) == 256 << 20
    assert all(each["start_new_session"] and "preexec_fn" not in each for each in seen)


@pytest.mark.anyio
@both_loops
async def test_a16_cancelled_in_the_middle_of_a_start() -> None:
    for steps in [*range(5)] * 10:
        async with Programs().tunnel(grace=0.01) as tunnel, anyio.create_task_group() as tasks:
            tasks.start_soon(tunnel.start)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        assert not children()
        assert not sweep.running()


@pytest.mark.anyio
async def test_a17_open_descriptors_stay_with_the_host() -> None:
    leaking = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leaking, True)
    try:
        programs = Programs(program("fds", *UP))
        async with programs.tunnel() as tunnel:
            await tunnel.start()
            # 3 is the directory that is read.
            assert await programs.latest.first_match(starts("fds: ")) == "0 1 2 3"
    finally:
        os.close(leaking)


@pytest.mark.anyio
async def test_a18_a_blocked_signal_and_an_ignored_pipe_are_not_inherited() -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    try:
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN  # Python itself does that
        assert "SIGPIPE" in await reason_of("kill -PIPE $$")
        programs = Programs(program("session", *UP))
        async with programs.tunnel(grace=30) as tunnel:
            await tunnel.start()
            said = await programs.latest.first_match(starts("leads="))
            assert said.startswith("True blocked=[] ")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    assert programs.latest.returncode == -signal.SIGTERM


@pytest.mark.anyio
async def test_a18_a_program_that_inherits_an_ignored_term_is_stopped_all_the_same() -> None:
    old = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        programs = Programs()
        async with programs.tunnel(grace=0.1) as tunnel:
            await tunnel.start()
    finally:
        signal.signal(signal.SIGTERM, old)
    assert programs.latest.returncode == -signal.SIGKILL


async def reason_of(text: str) -> str:
    async with Programs(["/bin/sh", "-c", text]).tunnel(reconnect={"enabled": False}) as tunnel:
        with pytest.raises(Exception, match="sh ") as caught:
            await tunnel.start()
    return str(caught.value)


@pytest.mark.anyio
async def test_a19_no_shell_reads_the_command(tmp_path: Path) -> None:
    said = tmp_path / "said"
    path = script_that_notes_its_arguments(tmp_path / "bore", said)
    command = f"{path} -o \"Proxy=nc %h %p\" 'a b' '$HOME' '`id`' '*'"
    custom = {"command": command, "url_pattern": "example.com"}
    async with Tunnel({"backend": "custom", "custom": custom}) as tunnel:
        await tunnel.start()
        assert isinstance(tunnel.status, Connected)
    assert said.read_text().splitlines() == [
        "-o", "Proxy=nc %h %p", "a b", "$HOME", "`id`", "*",
    ]  # fmt: skip


def script_that_notes_its_arguments(path: Path, note: Path) -> Path:
    path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {note}\necho {URL}\nexec sleep 1000\n')
    path.chmod(0o755)
    return path


@pytest.mark.anyio
@pytest.mark.parametrize("command", ['bore "local', "bore local | tee log", "A=1 bore local"])
async def test_a19_what_was_meant_for_a_shell_is_refused(command: str) -> None:
    custom = {"command": command, "url_pattern": "bore.pub"}
    async with Tunnel({"backend": "custom", "custom": custom}) as tunnel:
        with pytest.raises(ConfigError, match=r"tunnel\.custom\.command"):
            await tunnel.start()
