"""What backends that drive a program have in common: `prx_tunnel_core.programs`."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from prx_tunnel_core import programs
from prx_tunnel_core.config import BackendConfig, Seconds, TunnelConfig
from prx_tunnel_core.errors import ConnectError, ProgramNotFound, SetupError
from prx_tunnel_core.process import open_process
from prx_tunnel_core.programs import (
    CommandOutput,
    Version,
    compile_pattern,
    program_version,
    run_command,
    time_left,
    while_running,
)

SOON = 20.0  # seconds: only a broken test waits this long


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.anyio
async def test_a_step_ends_before_the_attempt_does() -> None:
    assert (time_left(), time_left(5)) == (math.inf, 5)
    with anyio.move_on_after(100):
        await anyio.lowlevel.checkpoint()
        assert 89 < time_left() <= 90
        assert time_left(5) == 5
        with anyio.move_on_after(10):
            await anyio.lowlevel.checkpoint()
            assert 8.9 < time_left(60) <= 9
    with anyio.move_on_after(0):
        assert time_left() == 0
        await anyio.lowlevel.checkpoint()


class PatientConfig(BackendConfig):
    connect_timeout: Seconds | None = 90.0


@pytest.mark.parametrize(
    ("tunnel", "backend", "seconds"),
    [
        ({}, BackendConfig(), 60),
        ({}, PatientConfig(), 90),
        ({}, PatientConfig(connect_timeout=5), 5),
        ({"connect_timeout": 20}, BackendConfig(), 20),
        ({"connect_timeout": 20}, PatientConfig(), 20),
        ({"connect_timeout": 20}, PatientConfig(connect_timeout=5), 5),
        ({"connect_timeout": 20}, BackendConfig(connect_timeout=5), 5),
    ],
)
def test_what_the_user_has_set_comes_before_what_a_backend_does_by_default(
    tunnel: dict[str, float], backend: BackendConfig, seconds: float
) -> None:
    assert TunnelConfig.model_validate(tunnel).timeout_of(backend) == seconds


@pytest.mark.anyio
async def test_work_goes_on_while_the_program_runs() -> None:
    async def work() -> str:
        await anyio.lowlevel.checkpoint()
        return "done"

    async def fail() -> None:
        raise ConnectError("no")

    async def never() -> str:
        await anyio.sleep_forever()
        return "never"

    with anyio.fail_after(SOON):
        async with open_process(python("input()"), grace=0.1) as process:
            assert await while_running(process, work) == "done"
            with pytest.raises(ConnectError, match="no"):
                await while_running(process, fail)
        async with open_process(python("")) as process:
            assert await while_running(process, never) is None


@pytest.mark.anyio
async def test_the_output_of_a_command_is_both_streams() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    output = await run_command(python(code))
    assert (output.returncode, sorted(output.lines)) == (3, ["err", "out"])
    assert "out" not in repr(output)


def test_a_summary_is_one_short_line() -> None:
    assert CommandOutput(0, ()).summary == "nothing"
    assert CommandOutput(0, (" a ", "", "b")).summary == "a | b"
    assert len(CommandOutput(0, ("x" * 1000,)).summary) == programs.SHOWN


@pytest.mark.anyio
async def test_the_output_of_a_command_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "LARGEST_OUTPUT", 100)
    output = await run_command(python("print('\\n'.join(['x' * 10] * 100_000))"))
    assert (output.returncode, output.lines) == (0, ("x" * 10,) * 10)


@pytest.mark.anyio
async def test_environment_and_secrets_reach_the_command() -> None:
    code = "import os; print(os.environ['WORD'], 'canary')"
    output = await run_command(python(code), env={"WORD": "hello"}, secrets=["canary"])
    assert output.lines == ("hello **********",)


@pytest.mark.anyio
async def test_a_command_that_does_not_end_is_an_error_within_the_attempt() -> None:
    with anyio.fail_after(SOON), pytest.raises(ConnectError) as slow:
        await run_command(["sleep", "60"], patience=0.2)
    assert str(slow.value) == "sleep did not answer `60` within 0.2 s"
    with pytest.raises(ConnectError, match=r"did not answer `60` within 0\.[45] s"):
        with anyio.fail_after(0.5):
            await run_command(["sleep", "60"])


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.96.0", Version(1, 96)),
        ("1.102.3-ERR-BuildInfo", Version(1, 102, 3)),
        ("1.52", Version(1, 52)),
        ("v1.52.0-t12", Version(1, 52)),
        ("2026.8.2 (built 2026-09-29)", Version(2026, 8, 2)),
        ("date.20230928", None),
        ("1.2.3.4", None),
        ("", None),
    ],
)
def test_a_version_is_its_first_three_numbers(text: str, version: Version | None) -> None:
    assert Version.parse(text) == version


def test_versions_are_compared_by_number() -> None:
    assert Version(1, 9, 9) < Version(1, 52) < Version(1, 102)
    assert not Version(1, 52) < Version(1, 52, 0)
    assert str(Version(1, 52)) == "1.52.0"


async def hello(path: str, patience: float = 10.0) -> Version:
    return await program_version(
        [path, "--version"],
        name="hello",
        prefix="hello version ",
        minimum=Version(2, 1),
        fix="see https://hello.example",
        patience=patience,
    )


def script(folder: Path, text: str) -> str:
    path = folder / "hello"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("echo hello version 2.1.0", Version(2, 1)),
        ("echo warning >&2; echo '  hello version 2.10.1 (linux)'; exit 1", Version(2, 10, 1)),
    ],
)
async def test_a_program_says_its_version(tmp_path: Path, text: str, version: Version) -> None:
    assert await hello(script(tmp_path, text)) == version


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo hello version 2.0.9", "is hello 2.0.9, but 2.1.0 or newer is required; see https:"),
        ("echo bye version 3.0.0", "is not hello: `--version` printed bye version 3.0.0; see http"),
        ("echo not hello version 3.0.0", "is not hello: `--version` printed not hello version"),
        ("echo hello version soon", "is not hello: `--version` printed hello version soon; "),
        ("", "is not hello: `--version` printed nothing; see https://hello.example"),
        ("head -c 30000000 /dev/zero | tr '\\0' 'x'", "is not hello: `--version` printed "),
    ],
)
async def test_another_program_or_version(tmp_path: Path, text: str, reason: str) -> None:
    path = script(tmp_path, text)
    with pytest.raises(SetupError) as caught:
        await hello(path)
    assert str(caught.value).startswith(f"{path} {reason}")
    assert len(str(caught.value)) < 1000


@pytest.mark.anyio
async def test_a_program_without_an_answer(tmp_path: Path) -> None:
    path = script(tmp_path, "exec sleep 60")
    with anyio.fail_after(SOON), pytest.raises(ConnectError) as caught:
        await hello(path, patience=0.2)
    expected = f"{path} did not answer `--version` within 0.2 s; check that it is hello"
    assert str(caught.value) == expected
    with pytest.raises(ProgramNotFound):
        await hello(str(tmp_path / "bye"))


def test_a_pattern_finds_its_first_group() -> None:
    match = compile_pattern(r"at (\S+)( now)?").search("up at https://a.example now")
    assert match is not None
    assert match.group(1) == "https://a.example"


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "not a regular expression (RE2 syntax, without look-around): "),
        ("(?=a)(b)", "not a regular expression (RE2 syntax, without look-around): "),
        ("https://.*", "it has no group; put parentheses around the part to find"),
        ("(.*)", "it matches an empty line"),
    ],
)
def test_a_pattern_of_no_use(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}"):
        compile_pattern(pattern)


def test_patterns_need_a_package_that_core_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(SetupError, match=r"run: pip install .prx-tunnel-core\[patterns\]"):
        compile_pattern("(a)")
