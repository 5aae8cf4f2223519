"""`prx tunnel status`, `health` and `stop`: output, exit codes and start-up time."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.command import PATIENCE, Prx

HEAVY = [
    "argparse", "json", "re", "typing", "dataclasses", "socket", "subprocess", "asyncio", "anyio",
    "trio", "pydantic", "httpx", "rich", "pluggy", "importlib_metadata", "prx_tunnel_lab",
    "prx_tunnel_core.models", "prx_tunnel_core.errors", "prx_tunnel_core.config",
]  # fmt: skip
AND_LIST_MODULES = (
    "import sys; from prx_tunnel_core._cli import main; code = main();"
    f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr); sys.exit(code)"
)


@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["health"], ["stop"]])
def test_asking_imports_next_to_nothing(prx: Prx, arguments: list[str]) -> None:
    prx.detach()
    command = [sys.executable, "-c", AND_LIST_MODULES, "tunnel", *arguments]
    done = subprocess.run(command, env=prx.environ, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert done.stdout


def test_status_costs_little_more_than_python_itself(prx: Prx) -> None:
    prx.detach()
    status = prx.command("tunnel", "status")
    bare = [sys.executable, "-c", "pass"]

    def seconds(command: list[str]) -> float:
        before = time.perf_counter()
        subprocess.run(command, env=prx.environ, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - before

    # The best of several, for other processes only ever make it slower.
    runs = [(seconds(bare), seconds(status)) for _ in range(15)]
    assert min(asked for _, asked in runs) <= 2.5 * min(floor for floor, _ in runs)


@pytest.mark.parametrize("op", ["status", "health", "stop"])
@pytest.mark.parametrize("form", [[], ["--json"], ["--name=other"]])
def test_what_does_not_run_is_exit_code_3(prx: Prx, op: str, form: list[str]) -> None:
    done = prx("tunnel", op, *form)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("prx: tunnel '")
    assert done.stderr.endswith("is not running\n")


def test_a_connected_tunnel(prx: Prx) -> None:
    pid = prx.detach()
    assert prx.status()["pid"] == pid
    done = prx("tunnel", "status")
    assert done.returncode == 0
    assert done.stdout.splitlines()[:3] == [
        "Tunnel: lab (connected)",
        "Public URL: https://lab.example.com",
        "Local: http://localhost:3000",
    ]
    assert "Edge location: lab01" in done.stdout
    health = prx("tunnel", "health", "--json")
    assert health.returncode == 0
    answer = json.loads(health.stdout)
    assert list(answer) == ["verdict", "checks", "latency", "checked_at"]
    assert {check["name"]: check["verdict"] for check in answer["checks"]}["provider"] == "ok"


def test_an_unhealthy_one_is_exit_code_4(prx: Prx) -> None:
    prx.configure(lab="verdict = 'fail'")
    prx.detach()
    done = prx("tunnel", "health")
    assert done.returncode == 4
    assert done.stdout.startswith("Health: unhealthy")


def test_one_that_is_not_connected_is_exit_code_4(prx: Prx) -> None:
    prx.configure(lab="steps = ['hang']")
    foreground = prx.start("--json")
    assert foreground.stdout is not None
    assert json.loads(foreground.stdout.readline())["state"] == "connecting"
    done = prx("tunnel", "status")
    assert (done.returncode, done.stdout.splitlines()[0]) == (4, "Tunnel: lab (connecting)")


def test_stop_leaves_no_process_and_only_the_empty_lock(prx: Prx) -> None:
    pid = prx.detach()
    done = prx("tunnel", "stop")
    assert (done.returncode, done.stdout) == (0, "Tunnel default stopped\n")
    assert not is_running(pid)
    assert prx.left() == ["default.lock"]
    assert (prx.runtime / "default.lock").read_text() == ""
    # The name is free at once.
    prx.detach()


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} does not end"
        time.sleep(0.01)


def test_h13_a_frozen_process_is_not_waited_for(prx: Prx) -> None:
    pid = prx.detach()
    os.kill(pid, signal.SIGSTOP)
    try:
        asked = {
            code: subprocess.Popen(
                prx.command("tunnel", op), env=prx.environ, stderr=subprocess.PIPE, text=True
            )
            for op, code in (("status", 4), ("stop", 1))
        }
        for code, asking in asked.items():
            _, errors = asking.communicate(timeout=PATIENCE)
            assert asking.returncode == code
            assert f"(process {pid}) does not answer; is it suspended?" in errors
    finally:
        os.kill(pid, signal.SIGCONT)
    # What was asked for was heard when it could be.
    wait_for_end(pid)
    assert prx("tunnel", "status").returncode == 3


def test_i03_a_process_without_descriptors_keeps_running_and_answers_when_some_are_free(
    prx: Prx,
) -> None:
    pid = prx.detach()
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = {int(number) for number in os.listdir(f"/proc/{pid}/fd")}
    first_free = min(set(range(len(used) + 1)) - used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (first_free, before[1]))
    busy = cpu_time(pid)
    done = prx("tunnel", "status")
    assert (done.returncode, done.stdout) == (4, "")
    assert f"(process {pid}) does not answer" in done.stderr
    assert cpu_time(pid) - busy < 1  # of the two seconds that the client waited
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert prx("tunnel", "status").returncode == 0
    assert prx("tunnel", "logs").stdout.count("cannot accept a control connection") == 1
    assert prx("tunnel", "stop").returncode == 0
    assert not is_running(pid)


def cpu_time(pid: int) -> float:
    """Seconds of processor time that it has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--name", "Not A Name"],
        ["status", "--name"],
        ["status", "--nam", "x"],
        ["status", "more"],
        ["health", "--quickly"],
        ["stop", "--name=../default"],
    ],
)
def test_what_is_unusual_is_explained_by_argparse(prx: Prx, arguments: list[str]) -> None:
    done = prx("tunnel", *arguments)
    assert done.returncode == 2
    assert "usage: prx tunnel" in done.stderr or "tunnel name" in done.stderr
    assert "Traceback" not in done.stderr


def test_h08_a_runtime_directory_that_is_open_to_others(prx: Prx) -> None:
    prx.runtime.mkdir(0o755)
    prx.runtime.chmod(0o755)
    done = prx("tunnel", "status")
    assert done.returncode == 1
    assert f"run: chmod 700 {prx.runtime}" in done.stderr
    assert prx("tunnel", "start").returncode == 1


def test_n11_a_mistyped_name_is_told_the_names_that_run(prx: Prx) -> None:
    prx.detach("--name", "web")
    for op in ("status", "stop", "health"):
        done = prx("tunnel", op, "--name", "wbe")
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == "prx: tunnel 'wbe' is not running (running: web)\n"
