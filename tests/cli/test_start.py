"""`prx tunnel start` in the foreground, where nobody looks at a screen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from support.command import PATIENCE, Prx, until, wait_for


def test_each_transition_is_a_line_with_its_reason_and_what_follows(prx: Prx) -> None:
    gate = prx.home / "gate"
    os.mkfifo(gate)
    prx.configure(lab=f"steps = ['fail no route', 'up', 'hang']\ngate = '{gate}'")
    process = prx.start("--port", "4567")
    lines = until(process, "PUBLIC")
    gate.write_text("edge closed")
    lines += until(process, "(attempt")
    assert [line.partition(" in ")[0].rstrip("\n") for line in lines] == [
        "[INFO] Connecting lab -> localhost:4567",
        "[WARN] Not connected, attempt 1 of 10",
        "[INFO] Connecting lab -> localhost:4567 (attempt 1 of 10)",
        "[INFO] Tunnel connected: https://lab.example.com -> localhost:4567",
        "[WARN] this is PUBLIC: anyone with the URL can reach localhost:4567",
        "[WARN] Not connected, attempt 2 of 10",
        "[INFO] Connecting lab -> localhost:4567 (attempt 2 of 10)",
    ]
    assert lines[1].endswith(" s: no route\n")
    assert lines[5].endswith(" s: edge closed\n")


@pytest.mark.parametrize(
    ("host", "public"), [("127.0.0.1", False), ("a.localhost", False), ("0.0.0.0", True)]
)
def test_a_url_is_called_public_unless_it_leads_nowhere_else(
    prx: Prx, host: str, public: bool
) -> None:
    prx.configure(lab=f"url = 'http://{host}:4567'")
    process = prx.connected()
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert ("PUBLIC" in process.stdout.read()) is public  # up to its end


def test_json_is_an_object_for_each_transition(prx: Prx) -> None:
    prx.configure(lab="steps = ['fail no route', 'up']")
    process = prx.start("--json", "--name", "hooks")
    lines = until(process, '"connected"')
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)
    objects = [json.loads(line) for line in [*lines, *output.splitlines()]]
    assert [each["state"] for each in objects] == [
        "connecting", "reconnecting", "connecting", "connected", "stopped",
    ]  # fmt: skip
    assert {each["name"] for each in objects} == {"hooks"}
    assert {each["pid"] for each in objects} == {process.pid}
    assert (objects[1]["message"], objects[1]["attempt"]) == ("no route", 1)
    assert objects[3]["info"]["public_url"] == "https://lab.example.com"
    assert "[WARN] nothing listens on 127.0.0.1 port 3000" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_a_clean_stop(prx: Prx, number: signal.Signals) -> None:
    process = prx.connected()
    for _ in range(3):  # C16: the second must not cut off what the first has begun
        process.send_signal(number)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert output.endswith("[INFO] Tunnel stopped\n")
    assert "Traceback" not in errors
    assert prx.left() == ["default.lock"]


def test_a_signal_while_it_connects(prx: Prx) -> None:
    prx.configure(lab="steps = ['hang']")
    process = prx.start()
    until(process, "Connecting")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (0, "[INFO] Tunnel stopped\n")


def test_what_the_starter_ignores_is_ignored(prx: Prx) -> None:
    """`nohup prx tunnel start` goes on when its terminal closes."""
    nohup = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = prx.connected()
    finally:
        signal.signal(signal.SIGHUP, nohup)
    process.send_signal(signal.SIGHUP)
    assert prx("tunnel", "status").returncode == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_stop_from_another_shell_ends_the_foreground(prx: Prx) -> None:
    process = prx.connected()
    assert prx("tunnel", "stop").returncode == 0
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("lab", "reconnect", "code", "reason"),
    [
        ("steps = ['setup the token is not valid']", "", 1, "the token is not valid"),
        ("steps = ['fail no route']", "max_attempts = 2", 1, "no route"),
        ("steps = ['fail no route']", "enabled = false", 1, "no route"),
        ("stepps = ['up']", "", 2, "did you mean 'steps'?"),
    ],
)
def test_a_failure_says_why_and_leaves_nothing(
    prx: Prx, lab: str, reconnect: str, code: int, reason: str
) -> None:
    prx.configure(lab=lab, reconnect=reconnect)
    for detach in ([], ["--detach"]):
        done = prx("tunnel", "start", *detach)
        assert done.returncode == code
        assert reason in done.stderr.splitlines()[-1]
        assert done.stderr.splitlines()[-1].startswith("prx: ")
        assert "Traceback" not in done.stderr
        assert prx.left() in ([], ["default.lock"])
        assert prx("tunnel", "status").returncode == 3


def test_a_failure_is_the_last_that_is_told(prx: Prx) -> None:
    prx.configure(lab="steps = ['setup the account is closed']")
    done = prx("tunnel", "start", "--json")
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["state"] for each in objects] == ["connecting", "error"]


def test_what_a_program_says_cannot_play_with_the_terminal(prx: Prx) -> None:
    prx.configure(
        lab='steps = ["fail \\u001b[2Jno\\u0007\\u001b]0;title\\u0007", "setup \\u001b[31mred"]'
    )
    done = prx("tunnel", "start")
    assert "s: no\n" in done.stdout
    assert done.stderr.endswith("prx: red\n")
    assert "\x1b" not in done.stdout + done.stderr


def test_a_backend_that_is_not_installed_is_a_matter_of_configuration(prx: Prx) -> None:
    done = prx("tunnel", "start", "--backend", "frp")
    assert done.returncode == 2
    assert "called prx-tunnel-frp" in done.stderr


def test_a_file_that_is_not_there_is_a_matter_of_configuration(prx: Prx) -> None:
    done = prx("tunnel", "start", "--config", str(prx.home / "missing.toml"))
    assert done.returncode == 2
    assert "missing.toml" in done.stderr


def test_a_public_url_that_is_the_local_port_is_a_matter_of_configuration(prx: Prx) -> None:
    prx.config.write_text(
        "[tunnel]\nbackend = 'custom'\n[tunnel.custom]\npublic_url = 'http://127.0.0.1:3000'\n"
    )
    done = prx("tunnel", "start")
    assert done.returncode == 2
    assert "prx: tunnel.custom.public_url: http://127.0.0.1:3000 is the local target" in done.stderr


def test_a_port_that_is_none(prx: Prx) -> None:
    assert "invalid int" in prx("tunnel", "start", "--port", "many").stderr
    assert "local_port" in prx("tunnel", "start", "--port", "0").stderr


def test_h01_the_second_of_a_name_says_who_runs_it(prx: Prx) -> None:
    first = prx.connected()
    for detach in ([], ["--detach"]):
        done = prx("tunnel", "start", *detach)
        assert done.returncode == 2
        assert f"prx: tunnel 'default' is already running in process {first.pid}" in done.stderr
    assert prx.status()["pid"] == first.pid
    prx.connected("--name", "another")


def test_h01_of_sixteen_starts_one_wins(prx: Prx) -> None:
    codes: list[int] = []

    def start() -> None:
        codes.append(prx("tunnel", "start", "--detach").returncode)

    starts = [threading.Thread(target=start) for _ in range(16)]
    for each in starts:
        each.start()
    for each in starts:
        each.join()
    assert sorted(codes) == [0] + [2] * 15
    assert prx.status()["state"] == "connected"


def test_i01_a_full_disk_and_a_reader_that_left_do_not_close_the_tunnel(prx: Prx) -> None:
    with Path("/dev/full").open("w") as full:
        process = prx.start(stdout=full)
        wait_for(lambda: prx("tunnel", "status").returncode == 0)
        assert process.poll() is None
        prx("tunnel", "stop")
        assert process.wait(PATIENCE) == 0
    reading, writing = os.pipe()
    os.close(reading)
    process = prx.start(stdout=writing)
    os.close(writing)
    wait_for(lambda: prx("tunnel", "status").returncode == 0)
    assert process.poll() is None


def test_the_program_leaves_no_core(prx: Prx) -> None:
    process = prx.connected()
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert line.split()[4] == "0"


@pytest.mark.parametrize("streams", ["<&-", "<&- >&- 2>&-"])
def test_h23_without_standard_streams(prx: Prx, streams: str) -> None:
    command = ["sh", "-c", f'"$@" --detach {streams}', "sh", *prx.command("tunnel", "start")]
    subprocess.run(command, env=prx.environ, timeout=PATIENCE, check=True)
    assert prx.status()["state"] == "connected"
