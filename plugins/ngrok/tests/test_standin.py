"""The stand-in says what the real agent said: each run side by side with its recording."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Recording, StandIn

COMMAND = ["--log", "stdout", "--log-format", "json", "--log-level", "info"]


def normal(line: str, ports: dict[str, str]) -> str:
    """A line without what differs between two runs of the same program."""
    line = re.sub(r'"t":"[^"]+"', '"t":"T"', line)
    line = re.sub(r'"(id|clientid)":"[^"]+"', r'"\1":"ID"', line)
    line = re.sub(r'"dur":"[^"]+"', '"dur":"D"', line)
    line = re.sub(r"(?:DIR|/[\w/.-]+)/([\w.-]+)\.yml", r"DIR/\1.yml", line)
    for port, name in ports.items():
        line = line.replace(f"127.0.0.1:{port}", f"127.0.0.1:{name}")
    return line


@contextmanager
def running(
    standin: StandIn, tmp_path: Path, *steps: Any, name: str = "v2", **settings: Any
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The stand-in in the dialect of the recordings, with a page on a port of its own."""
    port = settings.pop("port", None) or free_port()
    file = tmp_path / f"{name}.yml"
    known = {"web_addr": f"127.0.0.1:{port}", **settings}
    file.write_text("".join(f"{key}: {value}\n" for key, value in known.items() if value))
    standin.write(dialect=2, version="2.3.41", port=port).does(list(steps))
    command = [str(standin.program), "http", "3000", "--config", str(file), *COMMAND]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process, port
    finally:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def rest(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=20)
    return output.splitlines()


def compare(lines: list[str], recording: Recording, port: int, *, api: bool = False) -> None:
    ours = [normal(line, {str(port): "4040", str(port + 1): "4041"}) for line in lines]
    theirs = [normal(line, {}) for line in recording.lines]
    assert ours == [line for line in theirs if api or '"pg":' not in line]


@pytest.mark.parametrize(
    ("name", "steps", "settings"),
    [
        ("07-auth-105", [["refuse_auth", "105"]], {"authtoken": "bad"}),
        ("07-auth-107", [["refuse_auth", "107"]], {"authtoken": "x"}),
        ("07-auth-108", [["refuse_auth", "108"]], {}),
        ("07-auth-121", [["refuse_auth", "121"]], {}),
        ("07-auth-128", [["refuse_auth", "128"]], {}),
        ("07-auth-4018", [["refuse_auth", "4018"]], {}),
        ("08-bind-319", [["refuse_bind", "319"]], {}),
        ("08-bind-334", [["refuse_bind", "334"]], {}),
    ],
)
def test_a_refusal(
    name: str,
    steps: list[Any],
    settings: dict[str, str],
    standin: StandIn,
    tmp_path: Path,
    recordings: dict[str, Recording],
) -> None:
    with running(standin, tmp_path, *steps, **settings) as (process, port):
        compare(rest(process), recordings[name], port)
        assert str(process.returncode) == recordings[name].exit


@pytest.mark.parametrize("name", ["06-SIGINT", "06-SIGHUP", "06-SIGKILL"])
def test_a_signal(
    name: str, standin: StandIn, tmp_path: Path, recordings: dict[str, Recording]
) -> None:
    with running(standin, tmp_path, "connect") as (process, port):
        assert process.stdout is not None
        up = [process.stdout.readline().rstrip("\n") for _ in range(6)]
        process.send_signal(signal.Signals[name.removeprefix("06-")])
        compare(up + rest(process), recordings[name], port)
        assert str(process.returncode) == recordings[name].exit


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("12-auth-hangs", []),
        ("15-web-addr-false", ["connect"]),
        ("11-tls-untrusted", None),
        ("10-server-unreachable", None),
        ("19-heartbeat-stops", ["connect", "heartbeat", ["lose", "session closed"], "resume"]),
    ],
)
def test_until_it_is_stopped(
    name: str,
    steps: list[Any] | None,
    standin: StandIn,
    tmp_path: Path,
    recordings: dict[str, Recording],
) -> None:
    recording = recordings[name]
    if steps is None:  # the network's own words are the recording's
        retries = [json.loads(line) for line in recording.lines if "failed to reconn" in line]
        steps = [["retry", retry["err"]] for retry in retries]
    web = "false" if name == "15-web-addr-false" else None
    settings = {"web_addr": web} if web else {}
    file = {"11-tls-untrusted": "v2-noca", "15-web-addr-false": "v2-webfalse"}.get(name, "v2")
    shown = len([line for line in recording.lines if '"pg":' not in line]) - 2
    with running(standin, tmp_path, *steps, name=file, **settings) as (process, port):
        assert process.stdout is not None
        begun = [process.stdout.readline().rstrip("\n") for _ in range(shown)]
        process.terminate()
        compare(begun + rest(process), recording, port)
        assert process.returncode == 0


def test_a_session_that_comes_and_goes(
    standin: StandIn, tmp_path: Path, recordings: dict[str, Recording]
) -> None:
    recording = recordings["17-reconnect"]
    entries = [json.loads(line) for line in recording.lines if '"pg":' not in line]
    retries = [entry["err"] for entry in entries if entry["msg"] == "failed to reconnect session"]
    gone = [["retry", err] for err in retries if "ERR_NGROK" not in err]
    eof = ["lose", "read EOF from remote peer"]
    steps = ["connect", eof, "resume", eof, *gone, "heartbeat", "heartbeat", "resume", eof]
    steps += [["retry_refused", "107"]] * 5
    with running(standin, tmp_path, *steps, authtoken="x") as (process, port):
        assert process.stdout is not None
        begun = [process.stdout.readline().rstrip("\n") for _ in range(len(entries) - 2)]
        process.terminate()
        compare(begun + rest(process), recording, port)


def test_a_busy_port(
    standin: StandIn, tmp_path: Path, busy_port: int, recordings: dict[str, Recording]
) -> None:
    with running(standin, tmp_path, "connect", port=busy_port) as (process, port):
        compare(rest(process), recordings["13-web-port-busy-explicit"], port)
        assert process.returncode == 1
    settings: dict[str, Any] = {"web_addr": "", "port": busy_port, "name": "v2-noweb"}
    with running(standin, tmp_path, "connect", **settings) as (process, port):
        assert process.stdout is not None
        begun = [process.stdout.readline().rstrip("\n") for _ in range(7)]
        process.terminate()
        compare(begun + rest(process), recordings["14-web-port-busy-default"], port)


def test_a_missing_file(standin: StandIn, recordings: dict[str, Recording]) -> None:
    standin.write(dialect=2, version="2.3.41")
    command = [str(standin.program), "http", "3000", "--config", "/nowhere/missing.yml", *COMMAND]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    recording = recordings["22-bad-config#2"]
    first = json.loads(recording.lines[0])["msg"]
    assert json.loads(done.stdout.splitlines()[0])["msg"] == first
    told = [line.replace("/nowhere/", "DIR/") for line in done.stdout.splitlines()[1:]]
    assert told == recording.lines[1:3]
    assert done.returncode == int(recording.exit)


REQUESTS: list[tuple[str, str, str | None]] = [
    ("GET", "/api/tunnels", None),
    ("GET", "/api/tunnels/command_line", None),
    ("GET", "/api", None),
    ("GET", "/api/status", None),
    ("GET", "/api/endpoints", None),
    ("GET", "/api/requests/http?limit=1", None),
    (
        "POST",
        "/api/tunnels",
        '{"name":"second","addr":"8000","bind_tls":true,"hostname":"x.example.com"}',
    ),
    ("POST", "/api/tunnels", '{"name":"second","addr":"8000"}'),
    ("DELETE", "/api/tunnels/second", None),
    ("DELETE", "/api/tunnels/nope", None),
    ("POST", "/api/tunnels", '{"name":"third","addr":"8000"}'),
    ("POST", "/api/tunnels", '{"name":'),
]


def ask(
    port: int, method: str, path: str, body: str | None = None, host: str | None = None
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body=body, headers={"Host": host or f"127.0.0.1:{port}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def recorded_answers(folder: Path) -> list[tuple[int, Any]]:
    """Status and body of each answer of the local API, without its measurements."""
    found: list[tuple[int, Any]] = []
    for name in ("02-api-tunnels", "03-api-misc", "04-api-post-delete"):
        text = (folder / f"v2agent-{name}.txt").read_text()
        for block in text.split("$ curl ")[1:]:
            status = re.search(r"HTTP/1\.1 (\d+)", block)
            assert status is not None
            body = block.split("\n\n", 1)[1].strip()
            found.append((int(status[1]), without_metrics(body)))
    return found


def without_metrics(body: str) -> Any:
    if not body.startswith("{"):
        return body.partition("\n")[0]
    value = json.loads(body)
    entries = value.get("tunnels", [value])
    for entry in entries:
        entry.pop("metrics", None)
    if "tunnels" in value:
        entries.sort(key=lambda entry: str(entry["name"]))
    return value


def test_the_local_api(standin: StandIn, tmp_path: Path, recordings: dict[str, Recording]) -> None:
    standin.write(refused_name="third")
    with running(standin, tmp_path, "connect", ["gate", "visit"], "visitor") as (process, port):
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in range(6)]
        answers = [ask(port, *request) for request in REQUESTS]
        foreign = ask(port, "GET", "/api/tunnels", host="evil.example")
        standin.open("visit")
        lines += [process.stdout.readline().rstrip("\n") for _ in range(33)]
        process.terminate()
        compare(lines + rest(process), recordings["01-success"], port, api=True)
    answers.insert(6, foreign)
    ours = [(status, without_metrics(body)) for status, body in answers]
    assert ours == recorded_answers(Path(__file__).parent / "recordings")


def test_the_local_api_before_there_is_a_session(standin: StandIn, tmp_path: Path) -> None:
    with running(standin, tmp_path) as (process, port):
        assert process.stdout is not None
        for _ in range(2):
            process.stdout.readline()
        assert ask(port, "GET", "/api/tunnels") == (200, '{"tunnels": [], "uri": "/api/tunnels"}')
        status, body = ask(port, "POST", "/api/tunnels", '{"name": "x", "addr": "8000"}')
    recording = (Path(__file__).parent / "recordings/v2agent-10-server-unreachable.txt").read_text()
    assert status == 503
    assert json.dumps(json.loads(body), separators=(",", ":")) in recording
