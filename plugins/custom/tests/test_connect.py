"""The backend with real programs: what each prints, and when the tunnel is up."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest
from prx_tunnel_custom import connect as module
from prx_tunnel_custom import prx_tunnel_backends
from prx_tunnel_custom.config import CustomConfig

from prx_tunnel_core import Failed, Tunnel
from prx_tunnel_core.backend import Backend, Connection, Target
from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError, ConnectError, ProgramExited, ProgramNotFound
from prx_tunnel_core.expansion import expand

pytestmark = pytest.mark.anyio

TARGET = Target("127.0.0.1", 3000)
SOON = 20.0  # seconds: only a broken test waits this long
STAY = "time.sleep(60)"


def opened(*lines: str, **table: Any) -> AbstractAsyncContextManager[Connection]:
    """Connect through a program of these Python lines; it stays unless it says otherwise."""
    code = "\n".join(["import os, sys, time", "out = sys.stdout.buffer", *lines, STAY])
    command = [sys.executable, "-u", "-c", code, "{port}"]
    given = {"command": command, "stop_grace": 2} | table
    if "public_url" not in given:
        given.setdefault("url_pattern", "bore.pub")
    expanded = expand(given, os.environ, path="tunnel.custom")
    assert isinstance(expanded, dict)
    return module.connect(validate(CustomConfig, expanded, path="tunnel.custom"), TARGET)


URL = "http://bore.pub:41234"
SAID = "listening at bore.pub:41234"

PRINTED = {
    "a line": f"print({SAID!r})",
    "on the other stream": f"print({SAID!r}, file=sys.stderr)",
    "in colours": f"print('\\x1b[2mINFO\\x1b[0m at \\x1b[32m{SAID}\\x1b[0m')",
    "a hyperlink": "print('\\x1b]8;;x\\x1b\\\\bore.pub:41234\\x1b]8;;\\x1b\\\\')",
    "after carriage returns": f"out.write(b'10 %\\r50 %\\r{SAID}\\r\\n'); out.flush()",
    "beside invalid UTF-8": f"out.write(b'\\xff\\xfe {SAID} \\xc3\\n'); out.flush()",
    "beside NUL and bell": f"out.write(b'\\x00\\x07{SAID}\\x07\\n'); out.flush()",
    "after a line of 10 MB": f"out.write(b'x' * 10_000_000 + b'\\n{SAID}\\n'); out.flush()",
    "after 20 000 lines": f"out.write(b'noise\\n' * 20_000 + b'{SAID}\\n'); out.flush()",
    "split over two writes": (
        f"out.write({SAID[:20].encode()!r}); out.flush(); time.sleep(0.2)\n"
        f"out.write({SAID[20:].encode()!r} + b'\\n'); out.flush()"
    ),
    "after the local URL": f"print('http://localhost:3000 http://127.0.0.1:3000'); print({SAID!r})",
    "after what looks like it": f"print('bore.pub:0 x@bore.pub:1 bore.pub'); print({SAID!r})",
}


@pytest.mark.parametrize("line", PRINTED.values(), ids=PRINTED)
async def test_the_url_is_learnt_however_it_is_printed(line: str) -> None:
    with anyio.fail_after(SOON):
        async with opened(line) as connection:
            assert connection.public_url == URL


async def test_the_end_of_an_overlong_line_is_not_taken_for_a_line() -> None:
    lines = ["out.write(b'x' * 10_000_000 + b' at bore.pub:1\\n'); out.flush()", f"print({SAID!r})"]
    with anyio.fail_after(SOON):
        async with opened(*lines) as connection:
            assert connection.public_url == URL


async def test_an_unfinished_line_is_no_announcement() -> None:
    with anyio.move_on_after(0.5) as waited:
        async with opened("out.write(b'at bore.pub:4'); out.flush()"):
            pytest.fail("half of a port was taken for the whole")
    assert waited.cancelled_caught


async def test_the_program_gets_the_port_and_its_variables_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OTHER_TOKEN", "canary-other")
    monkeypatch.setenv("TUNNEL_TOKEN", "canary-token")
    lines = [
        "assert sys.argv[1] == '3000'",
        "assert 'OTHER_TOKEN' not in os.environ",
        "assert os.environ['TOKEN'] == 'canary-token' and os.environ['LEVEL'] == 'debug'",
        "print('debug: token is', os.environ['TOKEN'])",
        f"print({SAID!r})",
    ]
    env = {"TOKEN": "${TUNNEL_TOKEN}", "LEVEL": "debug"}
    with anyio.fail_after(SOON):
        async with opened(*lines, env=env) as connection:
            assert connection.public_url == URL
            assert "canary" not in f"{connection!r} {vars(connection)}"
    assert "debug: token is **********" in caplog.text
    assert "canary" not in caplog.text


async def test_a_program_that_ends_early_is_an_error_with_its_last_lines() -> None:
    with pytest.raises(ProgramExited, match=r"exited with code 3: .*name is taken") as caught:
        async with opened("print('the name is taken', file=sys.stderr)", "sys.exit(3)"):
            pytest.fail("connected without a URL")
    assert caught.value.returncode == 3


async def test_a_program_that_ends_well_without_a_url_has_failed_too() -> None:
    with pytest.raises(ProgramExited, match="exited with code 0"):
        async with opened("sys.exit(0)"):
            pytest.fail("connected without a URL")


LOCAL_ONLY = ["print('at http://127.0.0.1:3000')", "print('at http://localhost:3000/')"]


async def test_a_program_that_told_only_the_local_url_ends() -> None:
    with pytest.raises(ProgramExited) as caught:
        async with opened(*LOCAL_ONLY, "sys.exit(3)", url_pattern=r"at (\S+)"):
            pytest.fail("connected to the local target")
    assert str(caught.value).endswith(
        "; url_pattern matched only http://localhost:3000, the local target itself, which many "
        "programs print too; change it to match the public URL"
    )
    assert caught.value.returncode == 3
    assert caught.value.tail == ("at http://127.0.0.1:3000", "at http://localhost:3000/")


async def test_a_program_that_tells_only_the_local_url_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The program takes a second to begin.
    monkeypatch.setattr("prx_tunnel_core.programs.SHARE", 1 / SOON)
    with pytest.raises(ConnectError, match="url_pattern matched only http://localhost:3000, "):
        with anyio.fail_after(SOON):
            async with opened(*LOCAL_ONLY, url_pattern=r"at (\S+)"):
                pytest.fail("connected to the local target")


async def test_the_public_url_may_come_in_the_last_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prx_tunnel_core.programs.SHARE", 0.0)
    with anyio.fail_after(SOON):
        async with opened(f"print({SAID!r})") as connection:
            assert connection.public_url == URL


@pytest.mark.parametrize("table", [{}, {"command": "no-such-tunnel-program"}])
async def test_a_public_url_that_is_the_local_target_is_an_error_of_the_configuration(
    table: dict[str, str],
) -> None:
    config = validate(CustomConfig, {"public_url": "http://localhost:3000", **table}, path="x")
    with pytest.raises(
        ConfigError, match=r"^tunnel\.custom\.public_url: http://localhost:3000 is "
    ):
        async with module.connect(config, TARGET):
            pytest.fail("connected to the local target")


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(ProgramNotFound, match="no-such-tunnel-program"):
        async with opened(command="no-such-tunnel-program"):
            pytest.fail("connected through nothing")


async def test_the_end_of_the_program_is_the_end_of_the_connection() -> None:
    with anyio.fail_after(SOON):
        lines = [f"print({SAID!r})", "time.sleep(0.3)", "print('server closed')", "sys.exit(1)"]
        async with opened(*lines) as connection:
            reason = await connection.wait_closed()
    assert "exited with code 1" in reason
    assert "server closed" in reason


async def test_leaving_ends_the_program_and_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    lines = [
        "import subprocess",
        "child = subprocess.Popen(['sleep', '60'])",
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')",
        f"print({SAID!r})",
    ]
    with anyio.fail_after(SOON):
        async with opened(*lines):
            started = [int(pid) for pid in pids.read_text().split()]
            assert all(alive(started))
    assert not any(alive(started))


def alive(pids: Iterable[int]) -> list[bool]:
    return [_state(pid) not in ("", "Z") for pid in pids]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


async def test_a_pattern_that_never_matches_is_an_error_with_the_last_lines(
    tmp_path: Path,
) -> None:
    pid = tmp_path / "pid"
    code = (
        f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); print('listening at [')"
    )
    custom = {
        "command": [sys.executable, "-u", "-c", f"{code}; {STAY}"],
        "url_pattern": "bore.pub",
        "connect_timeout": 1,
        "stop_grace": 1,
    }
    table = {"backend": "custom", "custom": custom, "reconnect": {"enabled": False}}
    async with Tunnel(table) as up:
        with anyio.fail_after(SOON), pytest.raises(ConnectError, match=r"said: listening at \["):
            await up.start()
        assert isinstance(up.status, Failed)
    assert not any(alive([int(pid.read_text())]))


async def test_no_secret_is_in_the_arguments_of_any_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNNEL_TOKEN", "canary-token")
    pids = tmp_path / "pids"
    lines = [
        "import subprocess",
        "child = subprocess.Popen(['sleep', '60'])",
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')",
        f"print({SAID!r})",
    ]
    with anyio.fail_after(SOON):
        async with opened(*lines, env={"X": "${TUNNEL_TOKEN}"}):
            for process in pids.read_text().split():
                assert b"canary" not in told(process, "cmdline")
                assert b"canary" in told(process, "environ")


def told(pid: str, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


# --- a known URL -------------------------------------------------------------------------------


async def test_a_known_url_is_up_when_the_program_says_so() -> None:
    with anyio.fail_after(SOON):
        async with opened(
            "print('starting')",
            "print('tunnel is up')",
            public_url="https://a.example",
            ready_pattern="is up",
            connect_timeout=60,
        ) as connection:
            assert connection.public_url == "https://a.example"


@pytest.mark.parametrize("ready_first", [True, False])
async def test_a_url_counts_when_the_program_is_ready_in_any_order(ready_first: bool) -> None:
    lines = ["print('all is ready now')", "time.sleep(0.05)", f"print({SAID!r})"]
    with anyio.fail_after(SOON):
        ordered = lines if ready_first else lines[::-1]
        async with opened(*ordered, ready_pattern=r"(ready) now") as connection:
            assert connection.public_url == URL


async def test_a_url_without_readiness_is_not_up() -> None:
    with anyio.move_on_after(0.5) as waited:
        async with opened(f"print({SAID!r})", ready_pattern="is ready"):
            pytest.fail("up before it was ready")
    assert waited.cancelled_caught


async def test_a_silent_program_with_a_known_url_is_up_once_it_has_stayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SETTLED", 0.2)
    with anyio.fail_after(SOON):
        async with opened(public_url="https://a.example") as connection:
            assert connection.public_url == "https://a.example"


async def test_a_silent_program_settles_within_a_short_time_to_connect() -> None:
    with anyio.fail_after(1.0) as scope:
        async with opened(public_url="https://a.example") as connection:
            scope.deadline += SOON
            assert connection.public_url == "https://a.example"


async def test_a_program_that_is_refused_does_not_look_up_for_a_moment() -> None:
    with anyio.fail_after(SOON), pytest.raises(ProgramExited, match="wrong token"):
        async with opened(
            "time.sleep(0.2); print('wrong token'); sys.exit(1)", public_url="https://a.example"
        ):
            pytest.fail("up although it was refused")


async def test_a_tunnel_of_somebody_else_has_no_process_and_never_closes() -> None:
    config = validate(CustomConfig, {"public_url": "https://a.example"}, path="tunnel.custom")
    async with module.connect(config, TARGET) as connection:
        assert connection.public_url == "https://a.example"
        assert list(await connection.check()) == []
        with anyio.move_on_after(0.1) as waited:
            await connection.wait_closed()
        assert waited.cancelled_caught


# --- what it says and passes on ----------------------------------------------------------------


async def test_a_command_with_another_port_is_warned_about(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"import time\nprint({SAID!r})\n{STAY}\n")
    with anyio.fail_after(SOON):
        async with opened(command=[sys.executable, "-u", str(program), "8080"]):
            pass
    assert "contains port 8080, but the tunnel forwards to 3000" in caplog.text


@pytest.mark.parametrize(("name", "passed"), [("ssh", True), ("autossh", True), ("bore", False)])
async def test_the_agent_is_passed_on_to_ssh_only(
    name: str, passed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / name
    program.write_text(
        f'#!/bin/sh\necho "agent ${{SSH_AUTH_SOCK-none}}"\necho "{SAID}"\nsleep 60\n'
    )
    program.chmod(0o700)
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent.sock")
    config = validate(
        CustomConfig,
        {"command": [str(program)], "url_pattern": r"^agent (\S+)", "env": {"A": "b"}},
        path="tunnel.custom",
    )
    assert module._environment(config) == (
        {"SSH_AUTH_SOCK": "/run/agent.sock", "A": "b"} if passed else {"A": "b"}
    )
    seen = ["none", "/run/agent.sock"][passed]
    with anyio.fail_after(SOON):
        async with opened(command=[str(program)], ready_pattern=f"agent {seen}") as connection:
            assert connection.public_url == URL


async def test_diagnosis_finds_the_program_and_what_everyone_can_read() -> None:
    backend = next(iter(prx_tunnel_backends()))
    assert isinstance(backend, Backend)
    assert backend.diagnose is not None
    command = [sys.executable, "--token=canary", "--auth-token", "canary", "--secret-file", "x"]
    table = {"command": command, "url_pattern": "bore.pub"}
    checks = list(await backend.diagnose(validate(CustomConfig, table, path="tunnel.custom")))
    assert [(check.name, check.verdict) for check in checks] == [
        ("program", "ok"), ("command", "unknown"), ("command", "unknown"),
    ]  # fmt: skip
    assert "--token;" in checks[1].detail
    assert "--auth-token;" in checks[2].detail
    assert "canary" not in str(checks)


async def test_diagnosis_says_that_the_program_is_missing() -> None:
    config = validate(
        CustomConfig, {"command": "no-such-program", "url_pattern": "bore.pub"}, path="t"
    )
    backend = next(iter(prx_tunnel_backends()))
    assert isinstance(backend, Backend)
    assert backend.diagnose is not None
    (check,) = await backend.diagnose(config)
    assert (check.name, check.verdict) == ("program", "fail")
    assert "no-such-program" in check.detail


async def test_a_tunnel_of_somebody_else_needs_no_program() -> None:
    backend = next(iter(prx_tunnel_backends()))
    assert isinstance(backend, Backend)
    assert backend.diagnose is not None
    external = validate(CustomConfig, {"public_url": "https://a.example"}, path="t")
    assert list(await backend.diagnose(external)) == []
    assert backend.program is None


@pytest.mark.parametrize(
    ("options", "shared"),
    [
        ("", False),
        ("-o ControlMaster=auto -o ControlPersist=600 -o ControlPath=/run/%C", True),
        ("-o ControlPath=/run/mux", True),
        ("-o ControlMaster=auto -o ControlPath=none", False),
    ],
)
async def test_diagnosis_says_that_ssh_would_leave_a_master(options: str, shared: bool) -> None:
    ssh = shutil.which("ssh")
    if ssh is None:
        assert "PRX_TUNNEL_REQUIRE_PROGRAMS" not in os.environ
        pytest.skip("needs OpenSSH's ssh")
    command = f"{ssh} -F /dev/null {options} -N -R 0:{{host}}:{{port}} me@tunnel.example"
    config = validate(CustomConfig, {"command": command, "url_pattern": "bore.pub"}, path="t")
    backend = next(iter(prx_tunnel_backends()))
    assert isinstance(backend, Backend)
    assert backend.diagnose is not None
    _, *found = await backend.diagnose(config)
    assert [check.verdict for check in found] == ["fail"] * shared
    assert all("ControlPath=none" in check.detail for check in found)
