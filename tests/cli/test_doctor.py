"""`prx tunnel doctor`: what a person reads, what a script reads, and the exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import Any

import pytest

from support.command import Prx


def report(prx: Prx, *arguments: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """The exit code and the object; checks are by their name."""
    done = prx("tunnel", "doctor", "--json", *arguments, **options)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    return done.returncode, {**found, "checks": {each["name"]: each for each in found["checks"]}}


def test_a_machine_on_which_all_is_well(prx: Prx) -> None:
    with socket.create_server(("127.0.0.1", 0)) as app:
        port = str(app.getsockname()[1])
        done = prx("tunnel", "doctor", "--port", port)
    lines = done.stdout.splitlines()
    away = [line for line in lines if "no route to other networks" in line]
    if not away:  # the lab's backend has a server somewhere else
        assert (done.returncode, lines[-1]) == (0, "all checks passed")
    assert f"ok    local port       something listens on 127.0.0.1 port {port}" in lines
    assert "ok    backend          lab: what a test says" in lines
    assert "ok    tunnel           'default' is not running" in lines


def test_a_person_reads_what_is_wrong_and_the_fix(prx: Prx) -> None:
    prx.config.write_text(
        "[gateway]\nport = 8080\n[tunnel]\nbackend = 'custom'\nlocal_port = 3000\n"
        "[tunnel.custom]\ncommand = '/no/tunnel {port}'\npublic_url = 'https://a.example.com'\n"
    )
    done = prx("tunnel", "doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert "FAIL  configuration    tunnel.local_port is 3000 but gateway.port is" in done.stdout
    assert "FAIL  program          '/no/tunnel': No such file or directory" in done.stdout
    assert "FAIL  local port       nothing listens on 127.0.0.1 port 3000; start" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("checks failed")


def test_a_script_reads_the_same(prx: Prx) -> None:
    prx.configure(lab="stepps = []")
    code, found = report(prx)
    assert (code, found["verdict"]) == (1, "fail")
    assert found["checks"]["backend"]["verdict"] == "fail"
    assert "did you mean 'steps'?" in found["checks"]["backend"]["detail"]
    assert set(found["checks"]["clock"]) == {"name", "verdict", "detail"}


def test_a_tunnel_that_runs_and_one_that_was_killed(prx: Prx) -> None:
    pid = prx.detach()
    os.kill(prx.detach("--name", "hooks"), signal.SIGKILL)
    _, found = report(prx)
    assert found["checks"]["tunnel"]["detail"] == f"'default' is connected (process {pid})"
    assert "tunnel 'hooks' was killed" in found["checks"]["leftover"]["detail"]
    _, found = report(prx, "--name", "hooks", "--port", "4567")
    assert found["checks"]["tunnel"]["detail"] == "'hooks' is not running"


def test_a_tunnel_that_does_not_answer(prx: Prx) -> None:
    pid = prx.detach()
    os.kill(pid, signal.SIGSTOP)
    try:
        code, found = report(prx)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert code == 1
    assert (
        f"(process {pid}) does not answer; is it suspended?" in found["checks"]["tunnel"]["detail"]
    )


def test_secrets_that_others_can_read_are_not_shown(prx: Prx) -> None:
    prx.configure(lab="token = 'canary-0123456789'")
    prx.config.chmod(0o644)
    done = prx("tunnel", "doctor")
    assert "FAIL  secrets          others can read tunnel.lab.token" in done.stdout
    assert f"run: chmod go-r {prx.config}" in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_a_plugin_cannot_play_with_the_terminal(prx: Prx) -> None:
    source = prx.home / "site" / "prx_tunnel_lab.py"
    text = source.read_text().replace('"what a test says"', '"what \\x1b[31ma test\\nsays\\x07"')
    source.write_text(text)
    done = prx("tunnel", "doctor")
    assert f"ok    backend          lab: what a test\n{'':<23}says\n" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--name", "Not A Name"], "prx: tunnel name 'Not A Name'"),
        (["--port", "many"], "invalid int"),
        (["more"], "unrecognized arguments: more"),
    ],
)
def test_wrong_usage(prx: Prx, arguments: list[str], said: str) -> None:
    done = prx("tunnel", "doctor", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_values_are_findings(prx: Prx) -> None:
    code, found = report(prx, "--port", "22")
    assert code == 1
    assert "allow_sensitive_port" in found["checks"]["configuration"]["detail"]
    code, found = report(prx, "--backend", "frp")
    assert "called prx-tunnel-frp" in found["checks"]["backend"]["detail"]


HANGING = {
    "the import itself": "import time\nwhile True: time.sleep(60)\n",
    "a thread that the interpreter waits for": (
        "from concurrent.futures import ThreadPoolExecutor\nimport threading\n"
        "ThreadPoolExecutor().submit(threading.Event().wait).result()\n"
    ),
}


@pytest.mark.parametrize("source", HANGING.values(), ids=HANGING)
@pytest.mark.parametrize("command", ["backends", "doctor"])
def test_s16_a_plugin_whose_import_hangs_is_named_and_the_process_ends(
    prx: Prx, command: str, source: str
) -> None:
    info = prx.home / "site" / "prx_tunnel_hung-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: prx-tunnel-hung\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[prx_tunnel]\nhung = hung\n")
    (prx.home / "site" / "hung.py").write_text(source)
    done = prx("tunnel", command)
    assert "lab" in done.stdout
    assert "prx-tunnel-hung 2.0: the import of plugin 'hung' did not end within" in done.stdout
