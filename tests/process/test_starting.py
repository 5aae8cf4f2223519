"""Finding and starting a program: each fault has its error class and says what to do."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from prx_tunnel_core.errors import ConnectError, ProgramNotFound, SetupError
from prx_tunnel_core.process import find_program, open_process
from support import acl
from support.proc import program, starts

pytestmark = pytest.mark.anyio


def script(path: Path, text: str = "#!/bin/sh\necho started\n", mode: int = 0o755) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


async def refused(command: list[str], kind: type[Exception], **options: str) -> str:
    with pytest.raises(kind) as caught:
        async with open_process(command, program_hint="install it", **options):  # type: ignore[arg-type]
            raise AssertionError("started")
    assert type(caught.value) is kind
    return str(caught.value)


async def test_a01_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    text = await refused(["bore", "local"], ProgramNotFound)
    assert text == f"'bore' was not found in PATH ({tmp_path}); install it"
    text = await refused(["/nonexistent/bore"], ProgramNotFound)
    assert text == "'/nonexistent/bore': No such file or directory; install it"


async def test_a02_not_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(tmp_path / "bore", mode=0o644)
    text = await refused([str(path)], ProgramNotFound)
    assert text == f"{path} is not executable; run: chmod +x {path}"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await refused(["bore"], ProgramNotFound) == text


async def test_a03_a_directory(tmp_path: Path) -> None:
    assert "is a directory" in await refused([str(tmp_path)], ProgramNotFound)


def elf(path: Path, change: Callable[[bytearray], bytearray]) -> list[str]:
    with open("/bin/true", "rb") as file:
        content = bytearray(file.read())
    assert content[:4] == b"\x7fELF"
    path.write_bytes(change(content))
    path.chmod(0o755)
    return [str(path)]


def other_machine(content: bytearray) -> bytearray:
    (machine,) = struct.unpack_from("<H", content, 18)
    struct.pack_into("<H", content, 18, 0x3E if machine == 0xB7 else 0xB7)
    return content


@pytest.mark.parametrize(
    "change",
    [other_machine, lambda content: content[:100], lambda _: bytearray()],
    ids=["other machine", "truncated", "empty"],
)
async def test_a04_no_program(tmp_path: Path, change: Callable[[bytearray], bytearray]) -> None:
    text = await refused(elf(tmp_path / "bore", change), ProgramNotFound)
    assert text.endswith("bore is not a program, or one for another kind of machine (ENOEXEC)")


async def test_a04_a_script_without_its_first_line(tmp_path: Path) -> None:
    path = script(tmp_path / "bore", "echo started\n")
    assert "is not a program" in await refused([str(path)], ProgramNotFound)


async def test_a05_the_interpreter_is_missing(tmp_path: Path) -> None:
    path = script(tmp_path / "bore", "#!/no/such -x\n")
    text = await refused([str(path)], ProgramNotFound)
    assert text == f"{path}: its interpreter '/no/such' does not exist"


async def test_a06_busy_passes(tmp_path: Path) -> None:
    """While the program is being replaced by a newer one."""
    path = elf(tmp_path / "bore", lambda content: content)
    with open(path[0], "r+b"):  # noqa: ASYNC230
        text = await refused(path, ConnectError)
    assert text == f"{path[0]} could not be started: Text file busy"
    async with open_process(path) as process:
        assert await process.wait() == 0


async def test_a07_links_that_lead_nowhere(tmp_path: Path) -> None:
    loop, dangling = tmp_path / "loop", tmp_path / "dangling"
    loop.symlink_to(loop)
    dangling.symlink_to(tmp_path / "nothing")
    assert "symbolic links" in await refused([str(loop)], ProgramNotFound)
    assert "No such file" in await refused([str(dangling)], ProgramNotFound)
    through_a_file = str(script(tmp_path / "file") / "bore")
    assert "Not a directory" in await refused([through_a_file], ProgramNotFound)


async def test_a08_the_working_directory_is_missing(tmp_path: Path) -> None:
    text = await refused(program("hang"), SetupError, cwd="/no/such")
    assert text == "the working directory /no/such: No such file or directory"
    file = str(script(tmp_path / "file"))
    text = await refused(program("hang"), SetupError, cwd=file)
    assert text == f"the working directory {file}: Not a directory"


@pytest.mark.parametrize("command", [["/bin/true", "a\x00b"], ["/bin/\x00true"], ["a\x00b"]])
async def test_a09_a_nul_character(command: list[str]) -> None:
    assert "NUL" in await refused(command, SetupError)


async def test_a09_what_the_system_cannot_encode() -> None:
    assert "surrogates not allowed" in await refused(["/bin/true", "\ud800"], SetupError)
    assert "surrogates not allowed" in await refused(["/bin/\ud800"], ProgramNotFound)
    assert "null byte" in await refused(["/bin/true"], SetupError, cwd="/tmp\x00")


async def test_a10_an_argument_that_is_too_long() -> None:
    assert "too long (E2BIG)" in await refused(program("print:" + "x" * 200_000), SetupError)


async def test_an_empty_command() -> None:
    assert await refused([], SetupError) == "the command is empty"


async def test_a11_relative_entries_of_path_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (".", "here"):
        script(tmp_path / folder / "bore")
    trusted = script(tmp_path / "there" / "bore")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f":.:here:./here:{trusted.parent}:")
    assert find_program("bore") == str(trusted)
    monkeypatch.setenv("PATH", ":.:here")
    text = await refused(["bore"], ProgramNotFound)
    assert text == "'bore' was not found in PATH (); install it"


@pytest.mark.parametrize("which", ["file", "folder", "link", "target's folder"])
async def test_a11_what_others_can_replace_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    path = script(tmp_path / "bin" / "bore")
    link = tmp_path / "links" / "bore"
    link.parent.mkdir()
    link.symlink_to(path)
    loose = {"file": path, "folder": path.parent, "link": link.parent}.get(which, path.parent)
    monkeypatch.setenv("PATH", str((path if which in {"file", "folder"} else link).parent))
    assert find_program("bore")
    loose.chmod(0o777)
    assert "can be changed by other users" in await refused(["bore"], SetupError)
    loose.chmod(0o1777 if loose.is_dir() else 0o755)  # as /tmp: nobody can replace another's file
    assert find_program("bore")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_o07_a_program_of_an_ordinary_user(tmp_path: Path) -> None:
    path = script(tmp_path / "bin" / "bore")
    os.chown(path, 4_000_001, -1)
    text = await refused([str(path)], SetupError)
    assert text == (
        f"{path} is not trusted: it belongs to user 4000001, who could change it; "
        f"run: chown root: {path}, or run this as user 4000001"
    )
    os.chown(path, 0, -1)
    assert find_program(str(path))


@pytest.mark.parametrize("which", ["file", "folder", "above"])
async def test_s05_a_program_that_an_acl_lets_others_replace(tmp_path: Path, which: str) -> None:
    path = script(tmp_path / "a" / "bore")
    loose = {"file": path, "folder": path.parent, "above": tmp_path}[which]
    acl.give(loose, (acl.USER, 4_000_001, 7))
    assert f"run: setfacl -b {loose}" in await refused([str(path)], SetupError)


async def test_s05_a_folder_far_above_that_others_could_replace(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    path = script(tmp_path / "a" / "b" / "bin" / "bore")
    (tmp_path / "a").chmod(0o777)
    text = await refused([str(path)], SetupError)
    assert f"the folder {tmp_path}/a can be changed by other users (mode 777)" in text


async def test_a12_the_program_is_found_without_path_in_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PATH")
    async with open_process(["true"]) as process:
        assert process.name == "true"
        assert await process.wait() == 0


async def test_a13_each_start_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'a'}:{tmp_path / 'b'}:/usr/bin:/bin")
    script(tmp_path / "a" / "bore")
    later = script(tmp_path / "b" / "bore", "#!/bin/sh\necho later\n")
    assert find_program("bore") == str(tmp_path / "a" / "bore")
    (tmp_path / "a" / "bore").unlink()
    assert find_program("bore") == str(later)
    async with open_process(["bore"]) as process:
        await process.first_match(starts("later"))


async def test_a19_no_shell_reads_the_command() -> None:
    words = ["$HOME", "; exit 1", "`id`", "a b", "*", '"']
    async with open_process(["printf", "%s\n", *words]) as process:
        await process.wait()
    assert list(process.tail) == words


def test_a_home_directory_may_be_abbreviated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(tmp_path / "bore")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_program("~/bore") == str(path)
