"""The stand-in against the recordings: what it does is what the real program did."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import anyio
import pytest
from cloudflare_kit import recordings
from cloudflare_kit.installed import StandIn, order
from cloudflare_kit.recordings import Action, Line, Run

PLAYED = [
    ("a03-usage-errors", 3),
    ("a03-usage-errors", 4),
    ("a03-usage-errors", 6),
    ("a04-bad-tokens", 0),
    ("a04-bad-tokens", 1),
    ("a04-bad-tokens", 5),
    ("b01-quick-no-network-json", 0),
    ("b02-quick-dns-nxdomain", 0),
    ("b03-quick-api-429-text", 0),
    ("b03-quick-api-successfalse-json", 0),
    ("b04-quick-api-hang-SIGINT", 0),
    ("b04-quick-api-hang-SIGTERM", 0),
    ("b05-quick-ok-no-edge-dns-text", 0),
    ("c01-quick-success-http2-json", 0),
    ("c01-quick-success-http2-text", 0),
    ("c01-quick-success-quic-text", 0),
    ("c02-named-token-success-auto-text", 0),
    ("c02-named-token-success-http2-json", 0),
    ("c03-token-locally-managed-url", 0),
    ("c03-token-no-remote-config", 0),
    ("c04-unauthorized-secret-http2-text", 0),
    ("c04-unauthorized-secret-text", 0),
    ("c05-register-error-permanent-http2", 0),
    ("c06-edge-cert-untrusted-auto", 0),
    ("c07-drop-all-quic-text", 0),
    ("c11-unauthorized-after-drop", 0),
    ("d03-signal-SIGHUP", 0),
    ("d03-signal-SIGINT", 0),
    ("d03-signal-SIGKILL", 0),
    ("d06-port-7844-blocked-auto-text", 0),
    ("d07-udp-blocked-quick-auto", 0),
    ("e19-config-nonempty", 0),
    ("e19-env-only-named", 0),
    ("e19-env-only-named", 1),
    ("e19-env-only-quick", 0),
    ("f27-udp-blocked-max-edge-addr-retries-1", 0),
]


def normal(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>", text)
    return re.sub(r"metrics server on 127\.0\.0\.1:\d+", "metrics server on <address>", text)


def start(stand_in: StandIn, run: Run, folder: Path) -> subprocess.Popen[str]:
    """The stand-in, called with the very words and variables of the recording."""
    (folder / "own.yml").write_text("{}")
    (folder / "tok").write_text("token")
    text = run.command.replace("DIR", str(folder)).replace("127.0.0.1:20999", "127.0.0.1:0")
    words = shlex.split(text)
    at = words.index("cloudflared")
    environment = dict(word.split("=", 1) for word in words[:at])
    return subprocess.Popen(
        [stand_in.program, *words[at + 1 :]],
        env={"HOME": str(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def before_signal(run: Run) -> list[Line]:
    lines: list[Line] = []
    for event in run.events:
        if isinstance(event, Line):
            lines.append(event)
        elif event.name.startswith("SIG"):
            break
    return lines


@pytest.mark.parametrize(("name", "number"), PLAYED)
def test_plays_the_recording(stand_in: StandIn, tmp_path: Path, name: str, number: int) -> None:
    stand_in.plan({"play": [name, number]})
    run = recordings.runs(name)[number]
    signals = [e.name for e in run.events if isinstance(e, Action) and e.name.startswith("SIG")]
    with start(stand_in, run, tmp_path) as process:
        assert process.stderr is not None
        errors = []
        if signals:
            expected_first = [line for line in before_signal(run) if line.stream == "E"]
            errors = [process.stderr.readline().rstrip("\n") for _ in expected_first]
            process.send_signal(signal.Signals[signals[0]])
        output, rest = process.communicate(timeout=30)
    errors += rest.splitlines()
    recorded = [line for line in run.events if isinstance(line, Line)]
    assert [normal(text) for text in errors] == [
        normal(line.text) for line in recorded if line.stream == "E"
    ]
    assert output.splitlines() == [line.text for line in recorded if line.stream == "O"]
    assert process.returncode == run.exit_code


def test_a_second_signal_kills(stand_in: StandIn, tmp_path: Path) -> None:
    """d03-second-signal: the handler is gone after the first."""
    run = recordings.runs("d03-second-signal")[0]
    stand_in.gate("request")
    stand_in.plan({"play": ["d03-second-signal", 0], "in flight": "request"})
    with start(stand_in, run, tmp_path) as process:
        assert process.stderr is not None
        for _ in before_signal(run):
            process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert "graceful shutdown" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == run.exit_code == -signal.SIGTERM


@pytest.mark.anyio
async def test_a_closed_pipe_kills(stand_in: StandIn, tmp_path: Path) -> None:
    """d13-stderr-reader-gone: the next line it logs is its last."""
    run = recordings.runs("c01-quick-success-quic-text")[0]
    process = start(stand_in, run, tmp_path)
    with process:
        assert process.stderr is not None
        assert process.stdout is not None
        text = ""
        while "Registered" not in text:
            text = process.stderr.readline()
            if match := re.search(r"metrics server on (127\.0\.0\.1:\d+)", text):
                address = match[1]
        process.stderr.close()
        # It dies before it can say that it has obeyed.
        with pytest.raises((anyio.BrokenResourceError, OSError)):
            await order(address, "say", "one more line")
            raise ConnectionResetError
        assert process.wait(timeout=30) == -signal.SIGPIPE
        process.stdout.close()


def test_two_cannot_have_one_metrics_port(stand_in: StandIn, tmp_path: Path) -> None:
    """e24-metrics-race: the second ends, but only after it has made a quick tunnel."""
    first, second = recordings.runs("e24-metrics-race")
    stand_in.plan({"play": ["e24-metrics-race", 0]})
    with start(stand_in, first, tmp_path) as one:
        assert one.stderr is not None
        address = ""
        while not address:
            if match := re.search(r"metrics server on (\S+)/metrics", one.stderr.readline()):
                address = match[1]
        two = subprocess.run(
            [stand_in.program, "tunnel", "--url", "http://127.0.0.1:9999", "--metrics", address],
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
        one.kill()
        one.communicate()
    lines = two.stderr.splitlines()
    assert two.returncode == second.exit_code == 1
    assert [normal(line) for line in lines[-2:]] == [
        normal(line.replace("127.0.0.1:20999", address)) for line in second.lines[-2:]
    ]
    assert any("quick Tunnel has been created" in line for line in lines)


def test_the_program_is_found_under_its_name(stand_in: StandIn) -> None:
    assert os.path.basename(stand_in.program) == "cloudflared"
    version = subprocess.run(
        [stand_in.program, "--version"], stdout=subprocess.PIPE, text=True, check=True
    )
    assert version.stdout.splitlines() == recordings.runs("a01-version")[0].lines
