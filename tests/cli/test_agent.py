"""`prx start`: an agent, and a tunnel to it."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.agent_run import AGENT, AgentRun
from support.command import Prx
from support.http_server import free_port
from support.proc import alive, gone

CONNECTED = "[INFO] Tunnel connected: https://lab.example.com -> localhost:"
Start = Callable[..., AgentRun]


@pytest.fixture
def start(prx: Prx) -> Iterator[Start]:
    runs: list[AgentRun] = []

    def begin(*arguments: str, **environ: str) -> AgentRun:
        runs.append(AgentRun(prx, *arguments, **environ))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()


@pytest.fixture
def port(prx: Prx) -> int:
    """The configured port, on which nothing listens yet."""
    return prx.use_port(free_port())


def configure(prx: Prx, port: int, *, lab: str = "", tunnel: str = "", reconnect: str = "") -> None:
    prx.configure(lab=lab, tunnel=tunnel, reconnect=reconnect)
    prx.use_port(port)


def test_the_tunnel_opens_once_the_agent_listens(prx: Prx, start: Start, port: int) -> None:
    run = start()
    agent = run.agent()
    assert run.url()[:2] == ("", "0o600")
    assert prx.status()["state"] == "idle"
    run.tell(f"listen {port}")
    assert run.until("connected") == f"{CONNECTED}{port}"
    assert "[WARN] this is PUBLIC" in run.until("PUBLIC")
    assert prx.status()["state"] == "connected"
    assert run.url()[0] == "https://lab.example.com\n"
    path = Path(run.url()[2])
    assert path.parent.stat().st_mode & 0o777 == 0o700
    run.tell("exit 7")
    assert run.end() == 7
    assert run.lines[-1] == "[INFO] Tunnel stopped"
    assert not alive(agent)
    assert not path.parent.exists()
    assert prx.left() == ["default.lock"]


def test_the_file_always_holds_the_current_url(prx: Prx, start: Start, port: int) -> None:
    gate = prx.home / "gate"
    os.mkfifo(gate)
    configure(prx, port, lab=f"steps = ['up', 'fail no route', 'up', 'hang']\ngate = '{gate}'")
    run = start()
    run.agent()
    run.tell(f"listen {port}")
    for _ in range(2):
        run.until(CONNECTED)
        # The file follows the status, in the same moment but not in the same instruction.
        while run.url()[0] != "https://lab.example.com\n":
            pass
        gate.write_text("the server went away")
    run.until("(attempt")
    while run.url()[0] != "":
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_an_agent_that_dies_by_a_signal(start: Start, port: int, number: int) -> None:
    run = start()
    run.agent()
    run.tell(f"listen {port}")
    run.until("connected")
    run.tell(f"kill {number}")
    assert run.end() == 128 + number


@pytest.mark.parametrize(
    ("lab", "reconnect", "reason"),
    [
        ("steps = ['setup the token is not valid']", "", "the token is not valid"),
        ("steps = ['fail no route']", "max_attempts = 2", "gave up after 2 attempts: no route"),
    ],
)
def test_a_tunnel_that_fails_does_not_end_the_agent(
    prx: Prx, start: Start, port: int, lab: str, reconnect: str, reason: str
) -> None:
    configure(prx, port, lab=lab, reconnect=reconnect)
    run = start()
    agent = run.agent()
    run.tell(f"listen {port}")
    assert run.until("[ERROR]").endswith(f"tunnel default: {reason}")
    assert prx.status()["message"] == reason
    assert alive(agent)
    assert run.url()[0] == ""
    run.tell("exit 0")
    assert run.end() == 0


def test_a_stop_from_another_shell_does_not_end_the_agent(
    prx: Prx, start: Start, port: int
) -> None:
    run = start()
    run.agent()
    assert prx("tunnel", "stop").returncode == 0  # before it was ever started
    run.until("[INFO] Tunnel stopped")
    run.tell(f"listen {port}")
    assert run.url()[0] == ""
    run.tell("exit 3")
    assert run.end() == 3
    assert not any("Connecting" in line for line in run.lines)


def test_an_agent_that_ends_in_the_middle_of_connecting(prx: Prx, start: Start, port: int) -> None:
    configure(prx, port, lab="steps = ['hang']")
    run = start()
    run.agent()
    run.tell(f"listen {port}")
    run.until("Connecting")
    run.tell("exit 0")
    assert run.end() == 0
    assert prx.left() == ["default.lock"]


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT]
)
def test_a_signal_is_passed_on_once_and_the_agent_decides(
    start: Start, port: int, number: signal.Signals
) -> None:
    run = start()
    run.agent()
    run.process.send_signal(number)
    run.until(f"got {number.name}")
    run.process.send_signal(number)
    run.until(f"got {number.name}")
    run.tell("exit 5")
    assert run.end() == 5
    assert sum("got " in line for line in run.lines) == 2


def test_an_agent_that_is_started_by_its_end_is_not_left(prx: Prx, start: Start, port: int) -> None:
    """Of a signal in the first moments, whichever it is, nothing is left."""
    for _ in range(5):
        run = start("--", "/bin/sleep", "1000")
        run.process.send_signal(signal.SIGTERM)
        assert run.end() in (128 + signal.SIGTERM, -signal.SIGTERM)
    assert prx.left() in ([], ["default.lock"])


def test_what_nohup_ignores_the_agent_ignores_too(start: Start, port: int) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = start("--", "/bin/sh", "-c", "kill -HUP $PPID; kill -HUP $$; exit 4")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.end() == 4


@pytest.mark.parametrize("keep", [False, True])
def test_c04_when_prx_is_killed_the_agent_ends_unless_it_is_to_be_kept(
    start: Start, port: int, keep: bool
) -> None:
    run = start(*(["--keep-agent"] if keep else []))
    agent = run.agent()
    run.tell(f"listen {port}")
    run.until("connected")
    run.process.kill()
    run.process.wait()
    if keep:
        run.tell("exit 0")  # it still reads, so it runs
        gone([agent], within=10)
        assert not any("got SIGTERM" in line for line in run.lines)
    else:
        gone([agent], within=10)


def folder_of(run: AgentRun) -> Path:
    run.agent()
    return Path(run.url()[2]).parent


def test_the_folder_of_a_killed_one_is_removed_by_the_next(
    prx: Prx, start: Start, port: int
) -> None:
    first, killed = start(), start()
    kept, left = folder_of(first), folder_of(killed)
    assert kept.parent == left.parent == prx.runtime
    killed.process.kill()
    killed.end()
    assert left.exists()
    own = folder_of(start())
    assert {path for path in prx.runtime.iterdir() if path.is_dir()} == {kept, own}


def test_where_nothing_can_be_trusted_the_agent_runs_all_the_same(
    prx: Prx, start: Start, port: int
) -> None:
    prx.runtime.mkdir(mode=0o755)
    prx.runtime.chmod(0o755)
    run = start()
    run.agent()
    assert run.url()[:2] == ("", "0o600")
    assert list(prx.runtime.iterdir()) == []


def test_without_a_tunnel_table_nothing_is_exposed(prx: Prx, start: Start) -> None:
    prx.config.write_text("[gateway]\nport = 3000\n")
    run = start()
    run.agent()
    run.tell("exit 0")
    assert run.end() == 0
    assert f"nothing is exposed: {prx.config} has no [tunnel] table" in run.lines[0]
    prx.without_file()
    run = start("--", "/bin/true")
    assert run.end() == 0
    assert "there is no configuration file; pass --backend" in run.lines[0]
    assert prx.left() == []


def test_auto_start_false_opens_none(prx: Prx, start: Start, port: int) -> None:
    configure(prx, port, tunnel="auto_start = false")
    run = start("--", *AGENT, PRX_TUNNEL_PUBLIC_URL="https://of-another.example.com")
    assert run.until("I am ").split()[3] == "-"
    run.tell("exit 0")
    assert run.end() == 0
    assert "tunnel.auto_start is false" in run.lines[0]
    assert prx("tunnel", "status").returncode == 3


def test_a_url_that_the_configuration_decides_is_known_before_the_start(
    prx: Prx, start: Start
) -> None:
    prx.config.write_text(
        f"[tunnel]\nbackend = 'custom'\nlocal_port = {free_port()}\nhealth_check_url = false\n"
        "[tunnel.custom]\npublic_url = 'https://agent.example.com'\n"
    )
    run = start()
    assert run.until("I am ").split()[3] == "https://agent.example.com"


def test_a_detached_tunnel_is_used_and_outlives_the_agent(
    prx: Prx, start: Start, port: int
) -> None:
    pid = prx.detach()
    for code in (1, 2):
        run = start()
        assert run.until("I am ").split()[3] == "https://lab.example.com"
        assert f"{CONNECTED}{port}" in run.lines
        assert run.url()[0] == "https://lab.example.com\n"
        run.tell(f"exit {code}")
        assert run.end() == code
        assert prx.status()["pid"] == pid


def test_h01_a_second_one_has_the_tunnel_of_the_first(prx: Prx, start: Start, port: int) -> None:
    first = start()
    first.agent()
    first.tell(f"listen {port}")
    first.until("connected")
    second = start()
    second.agent()
    assert second.url()[0] == "https://lab.example.com\n"
    second.tell("exit 0")
    assert second.end() == 0
    assert prx.status()["pid"] == first.process.pid


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["/nonexistent/agent"], 127),
        (["no-such-program"], 127),
        (["/etc"], 126),
        (["/etc/hostname"], 126),
    ],
)
def test_an_agent_that_cannot_be_run(
    prx: Prx, start: Start, port: int, command: list[str], code: int
) -> None:
    run = start("--", *command)
    assert run.end() == code
    assert any(line.startswith(f"prx: {command[0]!r} ") for line in run.lines)
    assert prx.left() == ["default.lock"]


def run_with(prx: Prx, gateway: str) -> subprocess.CompletedProcess[str]:
    prx.config.write_text(f"[gateway]\n{gateway}\n")
    return prx("start", stdin=subprocess.DEVNULL)


def test_the_command_of_the_configuration(prx: Prx) -> None:
    for command in (
        "'''/bin/echo \"two words\" $HOME *'''",
        "['/bin/echo', 'two words', '$HOME *']",
    ):
        done = run_with(prx, f"command = {command}")
        assert done.stdout.endswith("\ntwo words $HOME *\n")  # no shell looks at it
        assert done.returncode == 0


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("'''echo \"half'''", "gateway.command: no closing quotation"),
        ("''", "gateway.command is empty"),
        ("[]", "gateway.command is empty"),
        ("''' '''", "gateway.command is empty"),
        (r'"echo \u0000"', "gateway.command: an argument contains a NUL"),
        ("5", "gateway.command"),
    ],
)
def test_a_command_that_is_none(prx: Prx, command: str, reason: str) -> None:
    done = run_with(prx, f"command = {command}")
    assert done.returncode == 2
    assert reason in done.stderr


def test_an_empty_command_is_explained_where_it_was_given(prx: Prx) -> None:
    ending = "is empty; name a program, or"
    assert f"gateway.command {ending} remove the key\n" in run_with(prx, "command = ''").stderr
    prx.config.write_text("")
    assert f"COMMAND {ending} leave it out\n" in prx("start", "--", "").stderr


def test_the_command_line_beats_the_configuration(prx: Prx) -> None:
    prx.config.write_text("[gateway]\ncommand = 'false'\n")
    done = prx("start", "--", "/bin/echo", "--name", "--", "x")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "--name -- x")


def test_wrong_configuration_starts_nothing(prx: Prx) -> None:
    prx.configure(lab="stepps = ['up']")
    done = prx("start", "--", "/bin/echo", "started")
    assert done.returncode == 2
    assert "did you mean 'steps'?" in done.stderr
    assert done.stdout == ""


def test_ports_that_do_not_match_are_explained(prx: Prx, start: Start, port: int) -> None:
    prx.config.write_text(f"{prx.config.read_text()}\n[gateway]\nport = 4000\n")
    run = start("--", "/bin/true")
    assert run.end() == 0
    (warning,) = [line for line in run.lines if line.startswith("[WARN]")]
    assert f"tunnel.local_port is {port} but gateway.port is 4000" in warning


def test_somebody_else_on_the_agents_port_is_warned_about(prx: Prx, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        configure(prx, taken)
        run = start("--", "/bin/true")
        assert run.end() == 0
    assert any(f"listens on 127.0.0.1 port {taken} before the agent" in x for x in run.lines)


def test_the_environment_and_the_limits_are_the_agents_own(start: Start, port: int) -> None:
    """No core of prx itself is left, but that is not for the agent."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        run = start("--", "/bin/sh", "-c", "echo $MINE; ulimit -c", MINE="of the user")
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    assert run.end() == 0
    said = "unlimited" if hard == resource.RLIM_INFINITY else str(hard // 512)
    assert [line for line in run.lines if not line.startswith("[")] == ["of the user", said]


def test_the_help_says_how(prx: Prx) -> None:
    usage = "[--name NAME] [--config FILE] [--keep-agent] [-- COMMAND ...]"
    assert usage in prx("start", "--help").stdout


def test_t05_a_backend_and_a_port_on_the_command_line(prx: Prx, start: Start) -> None:
    """They ask for a tunnel where no file does; a port alone does not."""
    prx.config.write_text("")
    port = free_port()
    run = start("--port", str(port), "--backend", "lab")
    run.agent()
    run.tell(f"listen {port}")
    assert run.until("connected") == f"{CONNECTED}{port}"
    done = prx("start", "--port", str(port), "--", "true")
    assert "[INFO] No tunnel, nothing is exposed: " in done.stdout
    assert "pass --backend" in done.stdout
