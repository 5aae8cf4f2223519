"""A: a program that cannot be started is named with its reason, and not tried again."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prx_tunnel_core import ConfigError, Connected, Failed, Reconnecting, Tunnel
from prx_tunnel_core.process import find_program
from support.command import Prx
from support.faults import FOR_EVER, URL, Programs, copy_of, refused, script, starting
from support.proc import program
from support.tunnel_scenarios import reached

pytestmark = pytest.mark.anyio


async def test_a01_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    begun = time.monotonic()
    said = await refused(Programs(["bore", "local"]))
    assert time.monotonic() - begun < 0.1
    assert said == f"'bore' was not found in PATH ({tmp_path}); install it"
    said = await refused(Programs(["/nonexistent/bore"]))
    assert said == "'/nonexistent/bore': No such file or directory; install it"


def test_a01_missing_is_an_exit_code_of_its_own(tmp_path: Path) -> None:
    prx = Prx(tmp_path)
    custom = 'command = "/nonexistent/bore {port}"\nurl_pattern = "bore.pub"\n'
    prx.config.write_text(f"[tunnel]\nbackend = 'custom'\n[tunnel.custom]\n{custom}")
    done = prx("tunnel", "start")
    assert done.returncode == 1
    assert "/nonexistent/bore" in done.stderr


async def test_a02_not_executable(tmp_path: Path) -> None:
    path = script(tmp_path / "bore", mode=0o644)
    said = await refused(Programs([str(path)]))
    assert said == f"{path} is not executable; run: chmod +x {path}"


async def test_a03_a_directory(tmp_path: Path) -> None:
    said = await refused(Programs([str(tmp_path)]))
    assert said == f"{tmp_path} is a directory, not a program"


def other_machine(content: bytearray) -> bytearray:
    (machine,) = struct.unpack_from("<H", content, 18)
    struct.pack_into("<H", content, 18, 0x3E if machine == 0xB7 else 0xB7)
    return content


@pytest.mark.parametrize(
    "change",
    [
        other_machine,
        lambda content: content[:100],
        lambda _: bytearray(),
        lambda _: bytearray(b"echo hello\n"),
    ],
    ids=["another machine", "cut short", "empty", "no first line"],
)
async def test_a04_no_program_for_this_machine(
    tmp_path: Path, change: Callable[[bytearray], bytearray]
) -> None:
    said = await refused(Programs(copy_of("/bin/true", tmp_path / "bore", change)))
    assert said.endswith("bore is not a program, or one for another kind of machine (ENOEXEC)")


async def test_a05_the_interpreter_is_missing(tmp_path: Path) -> None:
    path = script(tmp_path / "bore", "#!/no/such -x\n")
    said = await refused(Programs([str(path)]))
    assert said == f"{path}: its interpreter '/no/such' does not exist"


async def test_a06_busy_passes(tmp_path: Path) -> None:
    """While the program is being replaced by a newer one."""
    path = tmp_path / "bore"
    programs = Programs([*copy_of("/bin/echo", path), URL])
    async with starting(programs.tunnel(reconnect=FOR_EVER)) as statuses:
        with path.open("r+b"):
            lost = await reached(statuses, Reconnecting)
        assert lost.reason == f"{path} could not be started: Text file busy"
        await reached(statuses, Connected)


async def test_a07_links_that_lead_nowhere(tmp_path: Path) -> None:
    loop, dangling = tmp_path / "loop", tmp_path / "dangling"
    loop.symlink_to(loop)
    dangling.symlink_to(tmp_path / "nothing")
    through_a_file = script(tmp_path / "file") / "bore"
    assert "symbolic links" in await refused(Programs([str(loop)]))
    assert "No such file" in await refused(Programs([str(dangling)]))
    assert "Not a directory" in await refused(Programs([str(through_a_file)]))


async def test_a08_the_working_directory_is_missing(tmp_path: Path) -> None:
    said = await refused(Programs(program("hang"), cwd="/no/such"))
    assert said == "the working directory /no/such: No such file or directory"
    file = str(script(tmp_path / "file"))
    said = await refused(Programs(program("hang"), cwd=file))
    assert said == f"the working directory {file}: Not a directory"


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"command": ["bore", "a\x00b"]}, "command"),
        ({"command": "bore a\x00b"}, "command"),
        ({"command": ["bore"], "env": {"A": "a\x00b"}}, "env"),
        ({"command": ["bore"], "env": {"A=B": "c"}}, "env"),
    ],
)
async def test_a09_nul_and_equals_are_refused_in_the_configuration(
    table: dict[str, object], key: str
) -> None:
    custom = {"url_pattern": "bore.pub", **table}
    async with Tunnel({"backend": "custom", "custom": custom}) as tunnel:
        with pytest.raises(ConfigError, match=rf"tunnel\.custom\.{key}"):
            await tunnel.start()


async def test_a09_what_no_configuration_has_looked_at_is_refused_too() -> None:
    assert "NUL" in await refused(Programs(["/bin/true", "a\x00b"]))
    assert "not a valid name or value" in await refused(Programs(program("hang"), env={"A=B": "c"}))


async def test_a10_an_argument_that_is_too_long() -> None:
    assert "too long (E2BIG)" in await refused(Programs(program("print:" + "x" * 200_000)))


async def test_a11_a_relative_entry_of_path_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in (".", "here"):
        script(tmp_path / folder / "bore", "#!/bin/sh\ntouch hijacked\n")
    trusted = script(tmp_path / "there" / "bore", f"#!/bin/sh\necho {URL}\nexec sleep 1000\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f":.:here:./here:{trusted.parent}:/usr/bin:/bin:")
    caplog.set_level("INFO")
    async with Programs(["bore"]).tunnel() as tunnel:
        await tunnel.start()
    assert not (tmp_path / "hijacked").exists()
    assert f"runs {trusted}" in caplog.text


@pytest.mark.parametrize("loose", ["file", "folder"])
async def test_a11_what_others_can_replace_is_refused(tmp_path: Path, loose: str) -> None:
    path = script(tmp_path / "bin" / "bore")
    (path if loose == "file" else path.parent).chmod(0o777)
    assert "can be changed by other users" in await refused(Programs([str(path)]))


async def test_a12_path_is_not_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert find_program("sh").startswith("/")
    async with Programs(["sh", "-c", f"echo {URL}; exec sleep 1000"]).tunnel() as tunnel:
        await tunnel.start()


async def test_a13_replaced_and_removed_between_two_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first, second = tmp_path / "a" / "bore", tmp_path / "b" / "bore"
    for path in (first, second):
        script(path, f"#!/bin/sh\necho {URL}\nexec sleep 1000\n")
    monkeypatch.setenv("PATH", f"{first.parent}:{second.parent}:/usr/bin:/bin")
    programs = Programs(["bore"])
    async with starting(programs.tunnel()) as statuses:
        await reached(statuses, Connected)
        first.unlink()
        programs.latest.kill()
        await reached(statuses, Connected)
        assert f"runs {second}" in caplog.text
        second.unlink()
        programs.latest.kill()
        assert "'bore' was not found in PATH" in (await reached(statuses, Failed)).message
