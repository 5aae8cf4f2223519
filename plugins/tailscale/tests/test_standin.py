"""The stand-in says and does what the real program was recorded saying and doing."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from tailscale_standin import HOST, PORTS, RECORDINGS, Run, StandIn, recorded, web

Setup = Callable[[StandIn], object]


def document(name: str, index: int = 0) -> dict[str, Any]:
    return dict(json.loads(recorded(name)[index].stdout))


def session(node: StandIn, served: dict[str, Any]) -> None:
    node.serve({"Foreground": {"69a6d162770d8063": served}})


def as_recorded(name: str, index: int = 0) -> Setup:
    return lambda node: node.status(**document(name, index))


def all_of(*setups: Setup) -> Setup:
    return lambda node: [setup(node) for setup in setups]


FUNNEL_ON = document("07-on-funnel-status-json")
TWO_MOUNTS = document("14-conflict-bg-path", 1)
OTHER_TARGET = web("/", target="http://127.0.0.1:3001")
OTHER_PORT = web("/", port=8443, target="http://127.0.0.1:9000", funnel=False)

# What the node is like before the recorded commands; those that the stand-in does not know
# (up, down, set, --tcp…) are left out.
SCENES: dict[str, Setup] = {
    "00-version-json": lambda _: None,
    "01-daemon-not-running-funnel": lambda node: node.daemon("absent"),
    "01-daemon-not-running-funnel-status": lambda node: node.daemon("absent"),
    "01-daemon-not-running-socketflag": lambda node: node.daemon("absent"),
    "01-daemon-not-running-status": lambda node: node.daemon("absent"),
    "02-needslogin-funnel": as_recorded("02-needslogin-status-json"),
    "02-needslogin-funnel-bg": as_recorded("02-needslogin-status-json"),
    "02-needslogin-funnel-off": as_recorded("02-needslogin-status-json"),
    "02-needslogin-funnel-reset": as_recorded("02-needslogin-status-json"),
    "02-needslogin-funnel-status-json": as_recorded("02-needslogin-status-json"),
    "03-needslogin-with-authurl-funnel": as_recorded("03-needslogin-with-authurl-status-json"),
    "04-nocaps-featurequery-404-funnel": lambda node: node.allow(),
    "04-nocaps-featurequery-404-funnel-bg": lambda node: node.allow(),
    "05-funnel-attr-only-nohttps": lambda node: node.allow("funnel", PORTS),
    "05-https-only-funnel": lambda node: node.allow("https"),
    "05-no-ports-cap": lambda node: node.allow("https", "funnel"),
    "06-feature-query-nowait": lambda node: node.offer_consent("exit"),
    "07-on-funnel-status-json": lambda node: node.serve(FUNNEL_ON),
    "07-on-serve-status-json": lambda node: node.serve(FUNNEL_ON),
    "07-on-status-json": lambda _: None,
    "10-empty-funnel-status-json": lambda _: None,
    "12-foreground-running-status-json": lambda node: session(node, FUNNEL_ON),
    "13-conflict-bg-over-fg": lambda node: session(node, FUNNEL_ON),
    "13-conflict-fg-fg-same-port": lambda node: session(node, FUNNEL_ON),
    "13-off-while-fg": lambda node: session(node, FUNNEL_ON),
    "13-reset-while-fg": lambda node: session(node, FUNNEL_ON),
    "14-conflict-bg-over-bg": lambda node: node.serve(FUNNEL_ON),
    "14-conflict-bg-path": lambda node: node.serve(OTHER_TARGET),
    "14-conflict-fg-over-bg": lambda node: node.serve(FUNNEL_ON),
    "15-off-many-no-yes": lambda node: node.serve(TWO_MOUNTS),
    "15-off-many-yes": lambda _: None,
    "15-off-nothing": lambda _: None,
    "15-off-path": lambda node: node.serve(TWO_MOUNTS),
    "15-off-with-target": lambda _: None,
    "17-legacy": lambda _: None,
    "17-port-not-allowed": lambda _: None,
    "17-port-too-high": lambda _: None,
    "18-permission-nonroot": all_of(
        lambda node: node.fault(denied=True),
        lambda node: node.serve({"AllowFunnel": {f"{HOST}:10000": True}}),
    ),
    "18-permission-operator": lambda _: None,
    "30-down-while-bg-funnel": all_of(
        as_recorded("30-down-while-bg-funnel", 3),
        lambda node: node.serve(web("/", target="http://127.0.0.1:4000")),
    ),
    "71-shields-up": lambda node: node.fault(shields=True),
    "71-shields-up-later": lambda _: None,
    "72-off-only-path": lambda node: node.serve(web("/pub")),
    "75-needs-machine-auth": as_recorded("75-needs-machine-auth", 3),
    "80-serve-off-after-revocation": all_of(
        lambda node: node.serve(FUNNEL_ON), lambda node: node.allow("https")
    ),
    "83-off-keeps-other-ports": lambda node: node.serve(
        {key: value | OTHER_PORT.get(key, {}) for key, value in FUNNEL_ON.items()}
    ),
}
FOREIGN_COMMANDS = ("down", "up", "set")


def known(run: Run) -> bool:
    plain_status = run.arguments[-1] == "status"
    return run.arguments[0] not in FOREIGN_COMMANDS and not plain_status and not run.signal


@pytest.mark.parametrize("name", SCENES)
def test_it_repeats_the_recording(name: str, node: StandIn) -> None:
    SCENES[name](node)
    runs = [run for run in recorded(name) if known(run)]
    for run in runs:
        compare(node.run(*run.arguments), run)


def compare(done: subprocess.CompletedProcess[str], run: Run) -> None:
    assert done.stdout.strip("\n") == run.stdout
    assert done.stderr.strip("\n") == run.stderr.replace("--socket=DIR/ts.sock ", "")
    assert done.returncode == run.code


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_session_ends_with_its_program_as_recorded(name: str, node: StandIn) -> None:
    held, after = recorded(f"11-foreground-{name}")
    with started(node, *held.arguments) as process:
        said = read_until(process, "Press Ctrl+C to exit.")
        during = node.served["Foreground"]
        process.send_signal(signal.Signals[name])
        assert process.wait(10) == held.code
    (only,) = during.values()
    recorded_session = document("12-foreground-running-status-json")["Foreground"]
    assert [only] == list(recorded_session.values())
    assert said.strip("\n") == held.stdout
    compare(node.run(*after.arguments), after)


def test_the_program_waits_for_consent_as_recorded(node: StandIn) -> None:
    node.offer_consent("wait")
    (run,) = recorded("06-feature-query-wait")
    with started(node, *run.arguments) as process:
        said = read_until(process, "https://")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == run.code
        assert process.stderr is not None
        _, _, reason = process.stderr.read().strip().partition(" lost ")
    assert said.strip("\n") == run.stdout.rstrip("\n")
    assert reason == run.stderr.partition(" lost ")[2]


def test_consent_in_the_meantime_is_recorded(node: StandIn) -> None:
    node.offer_consent("wait")
    (run,) = recorded("06-feature-query-enabled-meanwhile")
    with started(node, *run.arguments) as process:
        said = read_until(process, "https://")
        node.allow("https", "funnel", PORTS)
        assert process.stdout is not None
        said += process.stdout.read()
    assert said.strip("\n") == run.stdout
    assert process.returncode == run.code


@pytest.mark.parametrize(
    ("state", "code", "last"), [("refused", 1, "unexpected EOF"), ("ended", 0, "")]
)
def test_a_session_ends_with_its_daemon_as_recorded(
    state: str, code: int, last: str, node: StandIn
) -> None:
    # 40-daemon-kill9-with-fg-and-bg, 41-daemon-sigterm-with-fg
    with started(node, "funnel", "3000") as process:
        read_until(process, "Press Ctrl+C to exit.")
        node.daemon(state)
        _, complaint = process.communicate(timeout=10)
    assert (process.returncode, complaint.strip()) == (code, last)


def test_a_warning_of_versions_goes_to_the_other_stream(node: StandIn) -> None:
    node.fault(mismatch=True)
    done = node.run("funnel", "--bg", "3000")
    (_, run, _, _) = recorded("60-version-mismatch")
    assert done.stdout.strip("\n") == run.stdout
    assert done.stderr.startswith('Warning: client version "')
    assert run.stderr.startswith('Warning: client version "')
    assert done.returncode == run.code == 0


def test_a_lost_race_is_told_as_recorded(node: StandIn) -> None:
    node.fault(etag=1)
    done = node.run("funnel", "--bg", "--set-path=/r1", "4001")
    text = (RECORDINGS / "82-race-12-clis.txt").read_text()
    assert f"rc={done.returncode} stderr={done.stderr!r}" in text


def started(node: StandIn, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [node.program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process: subprocess.Popen[str], beginning: str) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.strip().startswith(beginning):
            return said
    raise AssertionError(f"it ended without {beginning!r}: {said!r}")
