"""Hosts that import us, fork and exit in their own ways."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support.proc import Gate, gone, heard, host

WITHIN = 2.0
# A fork of a process with threads is what is tested; newer Pythons warn of it.
FORKING = ("-W", "error::ResourceWarning")

IN_A_THREAD = """
async def main():
    async with open_process(program("escape:pid:escaped;hang", "pid:leader", "hang")) as process:
        pids = [await pid_of(process, label) for label in ("escaped", "leader")]
        say(*pids, guard_pid())
        up.set()
        await anyio.sleep_forever()

up = threading.Event()
threading.Thread(target=anyio.run, args=(main,), daemon=True).start()
up.wait()
"""


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
    with host(IN_A_THREAD + ending) as process:
        pids = [int(word) for word in heard(process)]
        begun = time.monotonic()
        assert process.wait() == code
        gone(pids, WITHIN)
        assert time.monotonic() - begun < WITHIN
        assert process.stderr is not None
        assert process.stderr.read().strip().split("\n")[-1] == error


def test_c19_a_host_that_becomes_another_program() -> None:
    """It lives on as the same process; nobody there knows of the tunnel."""
    code = "os.execv('/bin/cat', ['cat'])"
    with host(IN_A_THREAD + code) as process:
        pids = [int(word) for word in heard(process)]
        gone(pids, WITHIN)
        assert process.poll() is None


IN_THE_BODY = """
async def main():
    async with open_process(program("pid:leader", "hang")) as process:
        say(await pid_of(process, "leader"), guard_pid())
        if len(sys.argv) > 2:
            threading.Thread(target=sys.exit).start()
        exec(sys.argv[1])

anyio.run(main)
"""


@pytest.mark.parametrize(
    ("ending", "code"), [("sys.exit(3)", 3), ("raise LookupError", 1), ("os._exit(4)", 4)]
)
def test_c19_a_body_that_ends_the_host(ending: str, code: int) -> None:
    with host(IN_THE_BODY, ending, "thread") as process:
        pids = [int(word) for word in heard(process)]
        assert process.wait() == code
        gone(pids, WITHIN)


QUIET = """
async def main():
    async with open_process(program("print:up", "hang")) as process:
        await process.first_match(starts("up"))

anyio.run(main, backend=sys.argv[1])
say(guard_pid())
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_exit_is_silent_and_not_delayed(backend: str) -> None:
    with host(QUIET, backend, options=("-X", "dev", "-W", "error")) as process:
        (guard_process,) = heard(process)
        begun = time.monotonic()
        assert process.wait() == 0
        assert time.monotonic() - begun < 0.5
        assert process.stderr is not None
        assert process.stderr.read() == ""
        gone([int(guard_process)], 0.5)


FORK = """
async def main():
    command = program("pid:leader", f"gate:{sys.argv[1]}", "print:still", "hang")
    async with open_process(command) as process:
        await pid_of(process, "leader")
        fork = os.fork()
        if fork == 0:
            exec(sys.argv[2])
        os.waitpid(fork, 0)
        say("waited")
        await process.first_match(starts("still"))
        say("still")

anyio.run(main, backend=sys.argv[3])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("ending", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_fork_that_ends_does_not_end_the_tunnel(gate: Gate, ending: str, backend: str) -> None:
    with host(FORK, gate.path, ending, backend, options=FORKING) as process:
        assert heard(process) == ["waited"]
        gate.open()
        assert heard(process) == ["still"]
        assert process.wait() == 0


UNWINDING = """
async def main():
    async with open_process(program("pid:leader", "hang")) as process:
        await pid_of(process, "leader")
        fork = os.fork()
        if fork == 0:
            sys.exit()
        os.waitpid(fork, 0)
        say("waited", process._popen.poll())
        os._exit(0)  # the fork has spoilt the loop, for both have the same epoll

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_fork_that_leaves_the_context_does_not_end_the_tunnel(backend: str) -> None:
    with host(UNWINDING, backend, options=FORKING) as process:
        assert heard(process) == ["waited", "None"]
        assert process.wait() == 0


FORK_WITH_ITS_OWN = """
async def own():
    async with open_process(program("print:up", "hang")) as process:
        await process.first_match(starts("up"))
        say(guard_pid())
        exec(sys.argv[3])

async def main():
    command = program("print:up", f"gate:{sys.argv[1]}", "print:still", "hang")
    async with open_process(command) as process:
        await process.first_match(starts("up"))
        up.set()
        await process.first_match(starts("still"))
        say("still")

up = threading.Event()
thread = threading.Thread(target=anyio.run, args=(main,))
thread.start()
up.wait()
say(guard_pid())
fork = os.fork()
if fork == 0:
    anyio.run(own)
    open(sys.argv[2], "x").close()
    sys.exit(0)
os.waitpid(fork, 0)
say("waited")
thread.join()
"""


@pytest.mark.parametrize("ending", ["pass", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_fork_has_a_guard_and_tunnels_of_its_own(gate: Gate, tmp_path: Path, ending: str) -> None:
    done = tmp_path / "done"
    with host(FORK_WITH_ITS_OWN, gate.path, str(done), ending, options=FORKING) as process:
        parents, forks = heard(process)[0], heard(process)[0]
        assert parents != forks
        assert heard(process) == ["waited"]
        assert done.exists() == (ending == "pass")
        gone([int(forks)], WITHIN)  # it has looked for everything that it is to end
        gate.open()
        assert heard(process) == ["still"]
        assert process.wait() == 0


IMPORT = """
from support.proc import descriptors
say(len(children()), guard_pid(), threading.active_count(), len(descriptors()))
"""


def test_nothing_happens_at_import() -> None:
    with host(IMPORT) as process:
        assert heard(process) == ["0", "None", "1", "3"]


WINDOWS = """
import asyncio, logging, pydantic  # of the interpreter's own platform
for name in [name for name in sys.modules if name.startswith("prx_tunnel_core")]:
    del sys.modules[name]
posix = ("killpg", "getpgid", "setsid", "pidfd_open", "waitid", "register_at_fork", "geteuid",
         "getegid", "getgroups", "set_blocking", "fork", "WNOHANG", "P_PID", "WEXITED")
kept = {name: getattr(os, name) for name in posix}
signals = ("SIGKILL", "SIGCONT", "SIGHUP", "SIGQUIT", "pthread_sigmask", "pidfd_send_signal")
for name in posix:
    delattr(os, name)
for name in signals:
    delattr(signal, name)
sys.platform = "win32"
from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.process import find_program, open_process
from prx_tunnel_core.process._reaper import guard

async def main():
    try:
        async with open_process(["no-such-program"]):
            raise AssertionError
    except SetupError as error:
        say(type(error).__name__, error)
    say(guard._current)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
"""


def test_on_windows_it_imports_and_says_what_it_needs() -> None:
    with host(WINDOWS) as process:
        assert " ".join(heard(process)) == (
            "SetupError running a tunnel program needs Linux or macOS; on Windows use WSL"
        )
        assert heard(process) == ["None"]
        assert process.wait() == 0
