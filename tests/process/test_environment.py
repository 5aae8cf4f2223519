"""The environment of a program, and secrets in its output."""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import traceback
import urllib.parse
from pathlib import Path

import pytest
from pydantic import SecretStr

from prx_tunnel_core.errors import ProgramExited, ProgramNotFound, SetupError
from prx_tunnel_core.process import open_process
from prx_tunnel_core.text import MASK
from support.proc import program, starts

pytestmark = pytest.mark.anyio

CANARY = "canary/4f+9c1e 7d=x"


async def test_k02_only_what_every_program_needs_is_inherited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NGROK_AUTHTOKEN", "TUNNEL_TOKEN", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "LD_X"):
        monkeypatch.setenv(name, CANARY)
    for name in ("HTTPS_PROXY", "LC_TIME", "SSL_CERT_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "/needed")
    async with open_process(program("environ", "hang"), env={"MINE": "1"}) as process:
        names = set((await process.first_match(starts("names: "))).split())
    assert names >= {"PATH", "MINE", "HTTPS_PROXY", "LC_TIME", "SSL_CERT_FILE", "XDG_CONFIG_HOME"}
    assert not names & {"NGROK_AUTHTOKEN", "TUNNEL_TOKEN", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"}
    assert all(name in {"PRX_TUNNEL_CHILD", "MINE"} or name in os.environ for name in names)


async def test_a_variable_of_env_replaces_an_inherited_one() -> None:
    async with open_process(program("env:HOME", "hang"), env={"HOME": "/nowhere"}) as process:
        assert await process.first_match(starts("HOME=")) == "/nowhere"


async def test_b20_a_secret_reaches_the_program_and_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    lines: list[str] = []
    spellings = [
        CANARY,
        urllib.parse.quote(CANARY, safe=""),
        urllib.parse.quote_plus(CANARY),
        json.dumps(CANARY),
        base64.b64encode(b"user:" + CANARY.encode()).decode(),
    ]
    said = ["raw:" + f"said {each}\n".encode().hex() for each in spellings]
    with pytest.raises(ProgramExited) as caught:
        command = program("env:TOKEN", *said, "exit:1")
        env = {"TOKEN": SecretStr(CANARY)}
        async with open_process(command, env=env, on_line=lines.append) as process:
            await process.first_match(starts("never"))
    assert lines[0] == "TOKEN=**********"
    assert len(lines) == len(process.tail) == 1 + len(spellings)
    everywhere = [
        *lines,
        *process.tail,
        repr(process),
        process.exit_reason(),
        process.last_lines(50),
        str(caught.value),
        repr(caught.value),
        repr(caught.value.tail),
        caplog.text,
    ]
    assert caplog.text.count("said") == len(spellings)
    for spelling in (*spellings[:-1], spellings[-1][8:-4]):  # what base64 makes of the user differs
        assert spelling not in "\n".join(everywhere)


async def test_it_reaches_the_program_unmasked() -> None:
    """Its output would be masked, so the program proves it in another way."""
    code = f'test "$TOKEN" = "{CANARY}" && echo present'
    async with open_process(["/bin/sh", "-c", code], env={"TOKEN": SecretStr(CANARY)}) as process:
        await process.first_match(starts("present"))


async def test_k04_a_failed_start_shows_no_secret_in_its_frames() -> None:
    with pytest.raises(ProgramNotFound) as caught:
        async with open_process(["/nonexistent/bore"], env={"TOKEN": SecretStr(CANARY)}):
            raise AssertionError
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "4f+9c1e" not in "".join(shown.format())


async def test_a_secret_of_the_caller_is_masked_too() -> None:
    async with open_process(program("print:it is hunter22", "hang"), secrets=["hunter22"]) as p:
        assert await p.first_match(starts("it is ")) == "**********"


@pytest.mark.parametrize("listener", [False, True], ids=["nobody", "a listener"])
async def test_a_secret_that_the_end_of_the_program_halved_is_not_shown_in_part(
    listener: bool,
) -> None:
    lines: list[str] = []
    env = {"TOKEN": SecretStr("s3cr3t-of-19-chars!")}
    command = program("raw:" + b"up\ntok=s3cr3t-of-19-c".hex(), "exit:1")
    on_line = lines.append if listener else None
    async with open_process(command, env=env, on_line=on_line) as process:
        with pytest.raises(ProgramExited) as caught:
            await process.first_match(starts("never"))
    assert "s3cr3t" not in f"{caught.value} {process.exit_reason()} {process.tail} {lines}"
    assert list(process.tail) == ["up", f"tok={MASK}"]
    assert lines == (list(process.tail) if listener else [])


async def test_a_line_that_was_completed_is_shown_as_it_was_written() -> None:
    secret = "s3cr3t-of-19-chars!"
    raw = f"raw:{b'tok=s3cr3t-of'.hex()}0a"
    async with open_process(program(raw, "exit:0"), secrets=[secret]) as process:
        await process.wait()
    assert list(process.tail) == ["tok=s3cr3t-of"]


async def test_a_secret_that_a_cut_would_halve_is_not_shown_in_part() -> None:
    secret = "s3cr3t-" * 40
    raw = b"x" * (64 * 1024 - 100) + secret.encode() + b"y" * 9000 + b"\n"
    command = program("raw:" + raw[:60000].hex(), "raw:" + raw[60000:].hex(), "print:end", "hang")
    async with open_process(command, secrets=[secret]) as process:
        await process.first_match(starts("end"))
    assert process.tail[0].endswith("x [...]")
    assert "s3cr3t" not in process.tail[0]


async def test_k01_a_secret_is_in_no_argument() -> None:
    command = program("child:pid:child;hang", "hang")
    async with open_process(command, env={"TOKEN": SecretStr(CANARY)}) as process:
        child = await process.first_match(starts("child "))
        for pid in (str(process.pid), child):
            with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: ASYNC230 - not a disk
                assert CANARY.encode() not in file.read()


async def test_k08_a_repr_shows_no_argument() -> None:
    async with open_process(program("hang", "print:--token=x")) as process:
        assert repr(process) == f"<TunnelProcess {process.name} {process.pid}>"


@pytest.mark.parametrize("env", [{"A=B": "x"}, {"": "x"}, {"A": "s3cr3t\x00"}, {"A\x00": "x"}])
async def test_a09_what_is_no_variable_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(SetupError) as caught:
        async with open_process(program("hang"), env=env):
            raise AssertionError
    (name,) = env
    assert str(caught.value) == f"environment variable {name!r}: not a valid name or value"


async def test_a17_a18_descriptors_signals_and_session_are_its_own(tmp_path: Path) -> None:
    """An inheritable descriptor, a blocked or an ignored signal of the host does not leak in."""
    leaking = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leaking, True)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    try:
        command = program("fds", "session", "hang")
        async with open_process(command, cwd=str(tmp_path), grace=30) as process:
            # 3 is the directory that is read.
            assert await process.first_match(starts("fds: ")) == "0 1 2 3"
            said = await process.first_match(starts("leads="))
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(leaking)
    assert said == f"True blocked=[] cwd={tmp_path} pipe=True"  # Python itself ignores SIGPIPE
    assert process.returncode == -signal.SIGTERM
