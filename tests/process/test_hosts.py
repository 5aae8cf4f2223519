"""Hosts that fork, exit or become another program while a program runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support.proc import PROGRAMS, Gate, gone, heard, host, pids_of

WITHIN = 2.0
# A fork of a process with threads is what is tested; newer Pythons warn of it.
FORKING = ("-W", "error::ResourceWarning")


@pytest.mark.parametrize(
    ("ending", "code", "error"),
    [
        ("", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("os._exit(4)", 4, ""),
        ("os.kill(os.getpid(), signal.SIGTERM)", -15, ""),
        ("raise LookupError('mine')", 1, "LookupError: mine"),
        ("os.kill(guard_pid(), signal.SIGSTOP)", 0, ""),
    ],
    ids=["the end", "sys.exit", "os._exit", "SIGTERM", "an exception", "its guard is frozen"],
)
def test_c19_a_host_that_ends_while_a_tunnel_is_up(ending: str, code: int, error: str) -> None:
    with host(PROGRAMS / "host_in_thread.py", ending) as process:
        pids = pids_of(process)
        begun = time.monotonic()
        assert process.wait() == code
        gone(pids, WITHIN)
        assert time.monotonic() - begun < WITHIN
        assert process.stderr is not None
        assert process.stderr.read().strip().split("\n")[-1] == error


def test_c19_a_host_that_becomes_another_program() -> None:
    """It is the same process then, and knows nothing of the tunnel."""
    code = "os.execv('/bin/cat', ['cat'])"
    with host(PROGRAMS / "host_in_thread.py", code) as process:
        pids = pids_of(process)
        gone(pids, WITHIN)
        assert process.poll() is None


@pytest.mark.parametrize(
    ("ending", "code"), [("sys.exit(3)", 3), ("raise LookupError", 1), ("os._exit(4)", 4)]
)
def test_c19_a_body_that_ends_the_host(ending: str, code: int) -> None:
    with host(PROGRAMS / "host_in_body.py", ending) as process:
        pids = pids_of(process)
        assert process.wait() == code
        gone(pids, WITHIN)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_exit_is_silent_and_not_delayed(backend: str) -> None:
    with host(PROGRAMS / "host_quiet.py", backend, options=("-X", "dev", "-W", "error")) as process:
        (guard_process,) = heard(process)
        begun = time.monotonic()
        assert process.wait() == 0
        assert time.monotonic() - begun < 0.5
        assert process.stderr is not None
        assert process.stderr.read() == ""
        gone([int(guard_process)], 0.5)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("ending", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_fork_that_ends_does_not_end_the_tunnel(gate: Gate, ending: str, backend: str) -> None:
    with host(PROGRAMS / "fork_ending.py", gate.path, ending, backend, options=FORKING) as process:
        assert heard(process) == ["waited"]
        gate.open()
        assert heard(process) == ["still"]
        assert process.wait() == 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_fork_that_leaves_the_context_does_not_end_the_tunnel(backend: str) -> None:
    with host(PROGRAMS / "fork_unwinding.py", backend, options=FORKING) as process:
        assert heard(process) == ["waited", "False"]
        assert process.wait() == 0


@pytest.mark.parametrize("ending", ["pass", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_fork_has_a_guard_and_tunnels_of_its_own(gate: Gate, tmp_path: Path, ending: str) -> None:
    done = tmp_path / "done"
    with host(
        PROGRAMS / "fork_with_tunnels.py", gate.path, str(done), ending, options=FORKING
    ) as process:
        parents, forks = heard(process)[0], heard(process)[0]
        assert parents != forks
        assert heard(process) == ["waited"]
        assert done.exists() == (ending == "pass")
        gone([int(forks)], WITHIN)  # it has looked for everything that it is to end
        gate.open()
        assert heard(process) == ["still"]
        assert process.wait() == 0


def test_nothing_happens_at_import() -> None:
    with host(PROGRAMS / "importing.py") as process:
        assert heard(process) == ["0", "None", "1", "3"]


def test_on_windows_it_imports_and_says_what_it_needs() -> None:
    with host(PROGRAMS / "on_windows.py") as process:
        assert " ".join(heard(process)) == (
            "SetupError running a tunnel program needs Linux or macOS; on Windows use WSL"
        )
        assert heard(process) == ["None"]
        assert process.wait() == 0
