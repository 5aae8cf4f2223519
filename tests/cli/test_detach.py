"""`prx tunnel start --detach`, and the process that it leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from support.command import PATIENCE, Prx, wait_for


def test_it_returns_connected_and_shows_the_status(prx: Prx) -> None:
    done = prx("tunnel", "start", "--detach")
    assert done.returncode == 0
    assert done.stdout.startswith("Tunnel: lab (connected)\nPublic URL: https://lab.example.com\n")
    assert prx("tunnel", "status").returncode == 0


def test_h15_nobody_waits_for_the_daemon_to_close_a_pipe(prx: Prx) -> None:
    command = ["sh", "-c", 'exec 7>&1; "$@" --detach --json | cat', "sh"]
    done = subprocess.run(
        [*command, *prx.command("tunnel", "start")],
        env=prx.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert json.loads(done.stdout)["state"] == "connected"


def test_c15_it_has_a_session_of_its_own(prx: Prx) -> None:
    pid = prx.detach()
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    streams = {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)}
    assert streams == {"/dev/null"}
    (umask,) = re.findall(r"Umask:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert umask == "0077"


def test_while_it_tries_it_says_why_it_is_not_connected(prx: Prx) -> None:
    prx.configure(lab="steps = ['fail no route', 'up']")
    done = prx("tunnel", "start", "--detach")
    assert done.returncode == 0
    assert re.search(
        r"^\[WARN\] Not connected, attempt 1 of 10 in .* s: no route$", done.stderr, re.MULTILINE
    )


def test_why_it_failed_is_told_once(prx: Prx) -> None:
    prx.configure(lab="steps = ['setup the account is closed']")
    done = prx("tunnel", "start", "--detach")
    assert done.returncode == 1
    assert done.stderr.count("the account is closed") == 1
    assert done.stderr.endswith("prx: the account is closed\n")
    assert prx.log.read_text().count("the account is closed") == 1


def test_the_log_tells_the_story_in_order(prx: Prx) -> None:
    prx.configure(lab="token = 'tok-0123456789'\nsteps = ['fail no route', 'up']")
    prx.detach()
    prx("tunnel", "stop")
    lines = [line.split(" ", 2)[2] for line in prx.log.read_text().splitlines()]
    story = ("Connecting", "lab: logged", "Not connected", "Tunnel connected", "Tunnel stopped")
    assert [begin for line in lines for begin in story if line.startswith(begin)] == [
        "Connecting", "lab: logged", "Not connected",
        "Connecting", "lab: logged", "Tunnel connected", "Tunnel stopped",
    ]  # fmt: skip


def test_the_log_has_an_error_that_is_no_status(prx: Prx) -> None:
    prx.runtime.mkdir(mode=0o700)
    (prx.runtime / "default.sock").mkdir()  # nothing can listen there
    done = prx("tunnel", "start", "--detach")
    assert done.returncode == 1
    reason = done.stderr.splitlines()[-1].removeprefix("prx: ")
    assert "default.sock" in reason
    assert prx.log.read_text().count(reason) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_h17_a_signal_while_waiting_stops_the_daemon(prx: Prx, number: signal.Signals) -> None:
    prx.configure(lab="steps = ['hang']")
    process = prx.start("--detach")
    status = wait_until_it_runs(prx)
    assert status["pid"] != process.pid
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert errors.endswith("prx: the tunnel was stopped before it was connected\n")
    assert not Path(f"/proc/{status['pid']}").exists()
    assert prx.left() == ["default.lock"]


def wait_until_it_runs(prx: Prx, name: str = "default") -> dict[str, object]:
    wait_for(lambda: bool(prx("tunnel", "status", "--json", "--name", name).stdout))
    return prx.status(name)


@pytest.mark.parametrize(
    ("name", "command"),
    [("default", "prx tunnel logs"), ("hooks", "prx tunnel logs --name hooks")],
)
def test_h16_a_daemon_that_dies_while_it_is_waited_for(prx: Prx, name: str, command: str) -> None:
    prx.configure(lab="steps = ['hang']")
    process = prx.start("--detach", "--name", name)
    os.kill(int(str(wait_until_it_runs(prx, name)["pid"])), signal.SIGKILL)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.endswith(
        f"prx: the tunnel's process died before it was connected; see: {command}\n"
    )


def test_h21_a_daemon_that_dies_while_it_is_asked(prx: Prx) -> None:
    prx.configure(lab="stuck = true")
    pid = prx.detach()
    asking = subprocess.Popen(
        prx.command("tunnel", "stop"), env=prx.environ, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: "closing takes for ever" in prx.log.read_text())
    os.kill(pid, signal.SIGKILL)
    _, errors = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 1
    assert f"(process {pid}) ended or closed the connection before it answered" in errors


def test_h02_after_a_kill_the_name_can_be_used_again(prx: Prx) -> None:
    first = prx.detach()
    os.kill(first, signal.SIGKILL)
    assert prx("tunnel", "status").returncode == 3
    assert prx.left() == ["default.lock", "default.sock"]
    second = prx.detach()
    assert second != first
    assert prx("tunnel", "stop").returncode == 0
    assert prx.left() == ["default.lock"]


def test_the_starter_may_be_killed_while_it_waits(prx: Prx) -> None:
    gate = prx.home / "gate"
    os.mkfifo(gate)
    prx.configure(lab=f"opened = '{gate}'")
    process = prx.start("--detach")
    wait_until_it_runs(prx)
    process.kill()
    process.wait()
    gate.write_text("now")
    wait_for(lambda: prx.status()["state"] == "connected")


def test_k03_the_log_is_private_and_has_no_secret(prx: Prx) -> None:
    prx.configure(lab="token = 'tok/0123456789'\nsteps = ['fail bad tok/0123456789', 'up']")
    prx.detach()
    prx("tunnel", "stop")
    log = prx.log
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700
    text = log.read_text()
    assert "lab: logged in with **********" in text
    assert "Tunnel connected: https://lab.example.com -> localhost:3000" in text
    assert "Not connected" in text
    assert "Tunnel stopped" in text
    assert "tok" not in text.replace("token", "")


def test_k07_no_secret_in_what_is_asked(prx: Prx) -> None:
    prx.configure(
        lab="token = 'tok-0123456789'\nsteps = ['fail bad tok-0123456789']",
        reconnect="max_attempts = 0",
    )
    process = prx.start("--json")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]
    texts = [
        prx("tunnel", op, *form).stdout for op in ("status", "health") for form in ([], ["--json"])
    ]
    assert "bad **********" in "".join(lines)
    assert "tok-0123456789" not in "".join(lines + texts)


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_k03_no_secret_in_a_failure(prx: Prx, detach: list[str]) -> None:
    prx.configure(lab="token = 'tok-0123456789'\nsteps = ['setup refused tok-0123456789']")
    done = prx("tunnel", "start", *detach)
    assert done.stderr.endswith("prx: refused **********\n")
    assert "tok-0123456789" not in done.stdout + done.stderr
    if detach:
        assert "tok-0123456789" not in prx.log.read_text()


def test_h04_the_second_does_not_write_into_the_log_of_the_first(prx: Prx) -> None:
    prx.detach()
    before = prx.log.read_text()
    assert prx("tunnel", "start", "--detach").returncode == 2
    assert prx.log.read_text() == before


def test_i02_a_log_that_cannot_be_written_is_said_at_once(prx: Prx) -> None:
    elsewhere = prx.home / "elsewhere"
    elsewhere.touch()
    log = prx.log
    log.parent.mkdir(parents=True)
    log.symlink_to(elsewhere)
    done = prx("tunnel", "start", "--detach")
    assert done.returncode == 1
    assert f"cannot write the log {log}: " in done.stderr
    assert elsewhere.read_text() == ""
    assert prx("tunnel", "status").returncode == 3


def test_i01_a_full_disk_does_not_close_the_tunnel(prx: Prx) -> None:
    import resource

    prx.configure(lab="steps = ['up']")
    pid = prx.detach()
    size = prx.log.stat().st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))
    assert prx("tunnel", "health").returncode == 0
    done = prx("tunnel", "stop")  # which is logged, if there is room
    assert done.returncode == 0
    assert prx.log.stat().st_size == size


@pytest.mark.parametrize("gone", ["HOME", "PATH"])
def test_h24_a_poor_environment(prx: Prx, gone: str) -> None:
    environ = {key: value for key, value in prx.environ.items() if key != gone}
    environ["XDG_STATE_HOME"] = str(prx.home / "state")
    for op in ("start --detach", "status", "stop"):
        command = prx.command("tunnel", *op.split())
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
