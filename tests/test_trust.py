"""What other users could change, replace or read is not used, and the reason names what helps."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prx_tunnel_core import trust
from support import acl
from support.programs import needs_program

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
STRANGER = 4_000_001  # a user and a group without an account
ME = 4_000_002


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in a folder of ours."""
    (tmp_path / "a folder").mkdir(0o755)
    return tmp_path / "a folder"


@pytest.fixture
def file(folder: Path) -> Path:
    (folder / "file").touch(0o600)
    return folder / "file"


def reason(path: Path | str, *, private: bool = False) -> str:
    """Why it is not trusted; "" when it is."""
    try:
        os.close(trust.open_file(str(path), private=private))
    except trust.Untrusted as error:
        return str(error).removeprefix(f"{path}: not trusted: ")
    return ""


def command_of(text: str) -> list[str]:
    """The command that the reason names."""
    return shlex.split(text.partition("run: ")[2].partition(", or ")[0])


def follow_advice(path: Path, *, private: bool = False) -> list[str]:
    """Run the command that each reason names, until there is none; the programs that were run."""
    used: list[str] = []
    while text := reason(path, private=private):
        command = command_of(text)
        needs_program(command[0])
        subprocess.run(command, check=True)
        used.append(command[0])
        assert len(used) < 5, f"it does not help: {text}"
    return used


# --- Owner


@as_root
@pytest.mark.parametrize("owner", [65534, STRANGER])
def test_o07_a_file_of_another_user(file: Path, owner: int) -> None:
    assert reason(file) == ""
    file.chmod(0o755)
    os.chown(file, owner, owner)
    text = reason(file)
    assert text.startswith("it belongs to ")
    assert str(owner) in text
    assert f"; run: chown root: '{file}', or " in text
    assert "chmod" not in text
    assert follow_advice(file) == ["chown"]


@as_root
@pytest.mark.parametrize("above", [0, 1])
def test_s05_a_folder_of_another_user(folder: Path, above: int) -> None:
    theirs = [folder, folder.parent][above]
    inner = folder / "inner"
    inner.mkdir()
    (inner / "file").touch(0o600)
    os.chown(theirs, STRANGER, -1)
    text = reason(inner / "file")
    assert text.startswith(f"the folder {theirs} belongs to user {STRANGER}, who could replace")
    assert follow_advice(inner / "file") == ["chown"]


@pytest.mark.parametrize("flag", ["O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK"])
def test_a_file_is_opened_so_that_a_device_does_no_harm(
    file: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    """No program inherits it, a terminal does not become ours, a FIFO waits for no writer."""
    opened, open_ = list[int](), os.open

    def noted(path: str, flags: int, *more: Any, **options: Any) -> int:
        if path == str(file):
            opened.append(flags)
        return open_(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", noted)
    os.close(trust.open_file(str(file)))
    assert opened
    assert all(flags & getattr(os, flag) for flags in opened)


@as_root
def test_o07_a_home_is_not_taken_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = pwd.struct_passwd(("bob", "x", STRANGER, STRANGER, "", str(folder), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: account)
    (folder / "file").touch()
    os.chown(folder, STRANGER, -1)
    assert reason(folder / "file") == (
        f"the folder {folder} belongs to bob (uid {STRANGER}), who could replace what is in it; "
        "use a copy in a folder of yours, or run this as bob"
    )


@as_root
def test_s05_an_ordinary_user_needs_sudo(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(file, STRANGER, -1)
    monkeypatch.setattr(os, "geteuid", lambda: ME)
    assert command_of(reason(file)) == ["sudo", "chown", f"{ME}:", str(file)]


# --- Mode


@pytest.mark.parametrize("mode", [0o602, 0o622, 0o666, 0o777, 0o1666])
def test_s05_a_file_that_all_may_write(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert reason(file) == (
        f"it can be changed by other users (mode {mode:o}); run: chmod go-w '{file}'"
    )
    assert follow_advice(file) == ["chmod"]


@pytest.mark.parametrize("mode", [0o400, 0o444, 0o600, 0o644, 0o755])
def test_a_file_that_others_may_only_read(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert reason(file) == ""


@pytest.mark.parametrize("above", [0, 1])
def test_s05_a_folder_that_all_may_write(file: Path, above: int) -> None:
    loose = [file.parent, file.parent.parent][above]
    loose.chmod(0o777)
    assert reason(file).startswith(f"the folder {loose} can be changed by other users (mode 777)")
    loose.chmod(0o1777)
    assert reason(file) == "", "as /tmp: others cannot replace what is ours"
    loose.chmod(0o777)
    assert follow_advice(file) == ["chmod"]


def test_s05_each_reason_has_its_turn(file: Path) -> None:
    acl.give(file, (acl.USER, STRANGER, 6))
    file.parent.chmod(0o777)
    assert follow_advice(file) == ["chmod", "setfacl"]


# --- Group


class Databases:
    """Those of users and groups, as this process sees them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.users: dict[str, tuple[int, int]] = {"root": (0, 0), "me": (ME, ME)}
        self.groups: dict[str, tuple[int, list[str]]] = {"root": (0, []), "me": (ME, [])}
        self.unlisted: set[str] = set()
        monkeypatch.setattr(os, "geteuid", lambda: ME)
        monkeypatch.setattr(os, "getegid", lambda: self.users["me"][1])
        monkeypatch.setattr(os, "getgroups", lambda: [self.users["me"][1]])
        monkeypatch.setattr(pwd, "getpwall", self._all)
        monkeypatch.setattr(pwd, "getpwuid", lambda uid: self._found(self._accounts(), 2, uid))
        monkeypatch.setattr(grp, "getgrgid", lambda gid: self._found(self._groups(), 2, gid))

    def _accounts(self) -> list[pwd.struct_passwd]:
        every = self.users.items()
        return [pwd.struct_passwd((n, "x", u, g, "", f"/home/{n}", "sh")) for n, (u, g) in every]

    def _all(self) -> list[pwd.struct_passwd]:
        return [each for each in self._accounts() if each.pw_name not in self.unlisted]

    def _groups(self) -> list[grp.struct_group]:
        return [grp.struct_group((n, "x", g, m)) for n, (g, m) in self.groups.items()]

    @staticmethod
    def _found(every: list, field: int, number: int):  # type: ignore[no-untyped-def, type-arg]
        for each in every:
            if each[field] == number:
                return each
        raise KeyError(number)


@pytest.fixture
def databases(monkeypatch: pytest.MonkeyPatch) -> Databases:
    return Databases(monkeypatch)


TEAM = 4_000_010


def private(databases: Databases) -> int:
    return ME


def of_root(databases: Databases) -> int:
    databases.users["operator"] = (11, 0)  # Red Hat's, which nobody logs in to
    return 0


def of_root_without_a_database(databases: Databases) -> int:
    del databases.groups["root"]
    return 0


def a_team_of_one(databases: Databases) -> int:
    databases.groups["team"] = (TEAM, ["me", "root"])
    return TEAM


def of_a_directory_service(databases: Databases) -> int:
    databases.unlisted.add("me")
    return ME


@pytest.mark.parametrize(
    "group", [private, of_root, of_root_without_a_database, a_team_of_one, of_a_directory_service]
)
@as_root
def test_s05_a_group_of_this_user_alone_may_write(
    file: Path, databases: Databases, group: Callable[[Databases], int]
) -> None:
    number = group(databases)
    for path, mode in ((file, 0o660), (file.parent, 0o775)):
        os.chown(path, ME, number)
        path.chmod(mode)
    assert reason(file) == ""


def primary_group_of_another(databases: Databases) -> int:
    databases.users["bob"] = (STRANGER, ME)
    return ME


def with_a_member(databases: Databases) -> int:
    databases.users["bob"] = (STRANGER, STRANGER)
    databases.groups["me"] = (ME, ["bob"])
    return ME


def with_a_member_without_an_account(databases: Databases) -> int:
    databases.groups["me"] = (ME, ["bob"])
    return ME


def of_root_with_a_member(databases: Databases) -> int:
    databases.users["bob"] = (STRANGER, STRANGER)
    databases.groups["root"] = (0, ["bob"])
    return 0


def primary_group_that_lists_nobody(databases: Databases) -> int:
    databases.users["me"] = (ME, 100)
    databases.groups["users"] = (100, [])
    databases.unlisted.add("me")
    return 100


def without_a_name(databases: Databases) -> int:
    return TEAM


def without_members(databases: Databases) -> int:
    databases.groups["team"] = (TEAM, [])
    return TEAM


@pytest.mark.parametrize(
    "group",
    [
        primary_group_of_another, with_a_member, with_a_member_without_an_account,
        of_root_with_a_member, primary_group_that_lists_nobody, without_a_name, without_members,
    ],
)  # fmt: skip
@pytest.mark.parametrize("which", ["file", "folder"])
@as_root
def test_s05_a_group_of_others_may_not(
    file: Path, databases: Databases, group: Callable[[Databases], int], which: str
) -> None:
    path = file if which == "file" else file.parent
    number = group(databases)
    os.chown(path, ME, number)
    path.chmod(0o770)
    assert " can be changed by group " in reason(file)
    assert command_of(reason(file)) == ["chmod", "go-w", str(path)]


@as_root
def test_s05_a_group_without_members_may_write_in_a_folder_of_roots(
    file: Path, databases: Databases
) -> None:
    """Debian's /usr/local/bin is `root:staff` with mode 2775."""
    databases.groups["staff"] = (50, [])
    os.chown(file.parent, 0, 50)
    file.parent.chmod(0o2775)
    assert reason(file) == ""
    databases.users["bob"] = (STRANGER, STRANGER)
    databases.groups["staff"] = (50, ["bob"])
    text = reason(file)
    assert "can be changed by group staff (mode 2775)" in text
    assert command_of(text) == ["sudo", "chmod", "go-w", str(file.parent)]
    databases.groups["staff"] = (50, ["me"])
    assert reason(file) == ""


@as_root
def test_s05_administrators_of_a_mac_may_write(
    file: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Homebrew's folders are theirs, and each of them can become root."""
    databases.users["bob"] = (STRANGER, STRANGER)
    databases.groups["admin"] = (80, ["me", "bob"])
    os.chown(file.parent, ME, 80)
    file.parent.chmod(0o775)
    assert "group admin" in reason(file)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert reason(file) == ""


# --- ACLs


@pytest.mark.parametrize("kind", [acl.USER, acl.GROUP])
@pytest.mark.parametrize("which", ["file", "folder"])
def test_s05_an_acl_that_lets_another_write(file: Path, kind: int, which: str) -> None:
    path = file if which == "file" else file.parent
    acl.give(path, (kind, STRANGER, 7))
    text = reason(file)
    assert " can be changed by " in text
    assert str(STRANGER) in text
    assert "through an ACL" in text
    assert command_of(text) == ["setfacl", "-b", str(path)]
    assert follow_advice(file) == ["setfacl"]


def test_s05_an_acl_that_lets_nobody_else_write(file: Path) -> None:
    acl.give(file, (acl.USER, STRANGER, 6), mask=4)
    assert reason(file) == "", "its mask takes the right away"
    acl.give(file, (acl.USER, STRANGER, 5), group=4, mask=7)
    assert reason(file) == "", "it may only read"
    acl.give(file, (acl.USER, os.geteuid(), 6), (acl.USER, 0, 6))
    assert reason(file) == "", "it is this user's own"
    acl.give(file.parent, (acl.USER, STRANGER, 7), kind=acl.DEFAULT)
    assert reason(file) == "", "it is for what will be made there"


@as_root
def test_s05_the_owning_group_of_an_acl_is_a_group_like_any(file: Path) -> None:
    acl.give(file, (acl.USER, 0, 6), group=6)
    assert reason(file) == ""
    os.chown(file, 0, STRANGER)
    assert f"can be changed by group {STRANGER} (mode 670)" in reason(file)
    assert follow_advice(file) == ["chmod"]


def test_s05_acls_as_setfacl_writes_them(file: Path) -> None:
    setfacl = needs_program("setfacl")
    for entries, trusted in (
        ("u:1:rw", False), ("g:1:rw", False), ("u:1:r", True), ("u:1:rw,m::r", True),
        ("u::rw,g::r,o::r", True), ("u:1:r,g:1:r,u:2:rwx", False),
    ):  # fmt: skip
        subprocess.run([setfacl, "-b", "-m", entries, file], check=True)
        assert (reason(file) == "") is trusted


@as_root
@pytest.mark.parametrize("code", [errno.ENODATA, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_acls(file: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def none(path: object, name: str) -> bytes:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "getxattr", none, raising=False)
    file.chmod(0o660)
    assert reason(file) == ""
    os.chown(file, 0, STRANGER)
    assert reason(file).startswith(f"it can be changed by group {STRANGER} (mode 660)")


# --- The way


def test_a_link_in_ones_own_folder_is_followed(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "folder").symlink_to(file.parent)
    (tmp_path / "relative").symlink_to("./folder/../a folder//file")
    for way in ("link", "folder/file", "relative", "folder/.//file", "a folder/../link"):
        assert reason(tmp_path / way) == ""


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    (tmp_path / "loose").mkdir()
    return tmp_path / "loose"


@pytest.mark.parametrize("way", ["link", "link/file"])
def test_s05_a_link_in_a_folder_that_all_may_write(file: Path, loose: Path, way: str) -> None:
    """To a file that nobody else can touch."""
    (loose / "link").symlink_to(file if way == "link" else file.parent)
    loose.chmod(0o777)
    assert command_of(reason(loose / way)) == ["chmod", "go-w", str(loose)]
    loose.chmod(0o1777)
    assert reason(loose / way) == "", "as in /tmp: others cannot remove it"
    os.link(loose / "link", file.with_name("other name"), follow_symlinks=False)
    assert "can be replaced by other users" in reason(loose / way)


@as_root
@pytest.mark.parametrize("way", ["link", "link/file"])
def test_s05_a_link_of_another_user_in_a_sticky_folder(file: Path, loose: Path, way: str) -> None:
    (loose / "link").symlink_to(file if way == "link" else file.parent)
    loose.chmod(0o1777)
    os.chown(loose / "link", STRANGER, -1, follow_symlinks=False)
    assert reason(loose / way) == (
        f"the link {loose}/link can be replaced by other users, because it is in {loose}; "
        f"name the file itself: '{file}'"
    )
    assert reason(file) == ""
    loose.chmod(0o755)
    assert reason(loose / way) == "", "nobody else can replace it here, whose ever it is"


@as_root
def test_s05_a_link_in_a_sticky_folder_of_a_group(file: Path, loose: Path) -> None:
    """As /nix/store: links of root's are what the others cannot touch."""
    (loose / "link").symlink_to(file)
    os.chown(loose, 0, STRANGER)
    loose.chmod(0o1775)
    assert reason(loose / "link") == ""
    os.chown(loose / "link", STRANGER, -1, follow_symlinks=False)
    assert "can be replaced by other users" in reason(loose / "link")


@as_root
def test_s05_what_others_put_into_a_sticky_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", STRANGER, -1)
    assert reason(tmp_path / "file").startswith("it belongs to user")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    assert reason(tmp_path / "folder" / "file") == ""
    os.chown(tmp_path / "folder", STRANGER, -1)
    assert reason(tmp_path / "folder" / "file").startswith("the folder ")


@pytest.mark.usefixtures("file")
def test_s05_the_way_that_a_link_leads_is_judged_too(tmp_path: Path, loose: Path) -> None:
    (loose / "inner").mkdir()
    (tmp_path / "link").symlink_to(loose / "inner")
    (tmp_path / "out").symlink_to("loose/inner/../../a folder/file")
    (loose / "inner" / "file").touch()
    assert reason(tmp_path / "link" / "file") == reason(tmp_path / "out") == ""
    loose.chmod(0o777)
    assert f"the folder {loose} can be" in reason(tmp_path / "link" / "file")
    assert f"the folder {loose} can be" in reason(tmp_path / "out"), "`..` leads out of it again"


def test_s05_a_relative_path_has_its_folders_too(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    assert reason("file") == ""
    file.parent.parent.chmod(0o777)
    assert "the folder" in reason("file")


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for look in (trust.open_file, trust.problem):
        with pytest.raises(OSError, match="symbolic links"):
            look(str(tmp_path / "a"))
        with pytest.raises(FileNotFoundError):
            look(str(tmp_path / "none"))


# --- The moment


def test_s05_what_was_exchanged_after_it_was_opened(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, other = os.open, file.with_name("other")
    other.touch(0o600)

    def exchange(path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = opened(path, flags, mode)
        other.rename(file)
        return descriptor

    monkeypatch.setattr(os, "open", exchange)
    assert "was replaced" in reason(file)


@as_root
def test_s05_the_descriptor_decides(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's file that was there for the moment of opening."""
    theirs = file.with_name("theirs")
    theirs.touch()
    os.chown(theirs, STRANGER, -1)
    opened = os.open
    monkeypatch.setattr(os, "open", lambda path, *more: opened(theirs, *more))
    assert reason(file) != ""


def test_what_is_no_file_neither_blocks_nor_stays_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    before = len(os.listdir("/dev/fd"))
    began = time.perf_counter()
    for path, words in (
        (tmp_path / "fifo", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(OSError, match=words):
            trust.open_file(str(path))
    assert time.perf_counter() - began < 5
    assert len(os.listdir("/dev/fd")) == before


# --- Secrets


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o444])
def test_s05_a_secret_that_others_can_read(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert reason(file) == ""
    text = reason(file, private=True)
    assert text.startswith("it is secret and can be read by ")
    assert text.endswith(f"(mode {mode:o}); run: chmod 600 '{file}'")
    assert follow_advice(file, private=True) == ["chmod"]


def test_s05_a_secret_that_an_acl_lets_another_read(file: Path) -> None:
    acl.give(file, (acl.USER, STRANGER, 4))
    assert reason(file) == ""
    assert f"can be read by user {STRANGER} through an ACL" in reason(file, private=True)
    assert follow_advice(file, private=True) == ["setfacl"]


@as_root
def test_s05_a_secret_that_root_gives_to_a_group_of_ours(file: Path, databases: Databases) -> None:
    """As a volume of secrets in Kubernetes."""
    os.chown(file, 0, ME)
    file.chmod(0o440)
    assert reason(file, private=True) == ""
    os.chown(file, 0, STRANGER)
    assert f"can be read by group {STRANGER}" in reason(file, private=True)
    os.chown(file, 0, ME)
    file.chmod(0o444)
    assert command_of(reason(file, private=True)) == ["sudo", "chmod", "o-rwx", str(file)]


# --- A user namespace, and an ordinary user, for real


LOOK = "import sys; from prx_tunnel_core import trust; print(trust.problem(sys.argv[1]))"


@as_root
def test_s05_in_a_sandbox_only_the_first_folders_may_be_of_an_unknown_owner(public: Path) -> None:
    """There, root's and those of all other users look the same."""
    inner, file = public / "inner", public / "inner" / "file"
    inner.mkdir()
    file.touch()
    command = [
        needs_program("setpriv"), f"--reuid={ME}", f"--regid={ME}", "--clear-groups",
        needs_program("unshare"), "-U", "--map-root-user", "/usr/bin/python3", "-S", "-c", LOOK,
    ]  # fmt: skip
    environ = {"PYTHONPATH": str(public)}
    (public / "prx_tunnel_core").mkdir()
    (public / "prx_tunnel_core" / "trust.py").write_bytes(Path(trust.__file__).read_bytes())

    def seen() -> str:
        done = subprocess.run(
            [*command, str(file)], env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode and "unshare" in done.stderr:
            pytest.skip("needs user namespaces for all users")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    for path in (public, inner, file):
        assert "belongs to an owner that this user namespace does not know" in seen()
        os.chown(path, ME, ME)
    assert seen() == "", "/ and /tmp belong to an owner that is not known there, too"


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that an ordinary user can enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="prx-trust-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def seen_by(uid: int, gid: int, path: Path) -> str:
    """The reason that a process of that user sees."""
    listening, telling = os.pipe()
    if os.fork() == 0:
        text = "it failed"
        try:
            os.setgroups([gid])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            text = reason(path)
        finally:
            os.write(telling, text.encode())
            os._exit(0)
    os.close(telling)
    with open(listening, encoding="utf-8") as told:
        text = told.read()
    os.wait()
    return text


@as_root
def test_s05_a_shared_primary_group(public: Path) -> None:
    """`users` is the group of all of them, though no database says who they are."""
    file = public / "file"
    file.touch()
    for gid in (100, ME):
        os.chown(file, ME, gid)
        file.chmod(0o660)
        assert "can be changed by group" in seen_by(ME, gid, file)
    file.chmod(0o640)
    assert seen_by(ME, 100, file) == ""
    os.chown(file, 0, 0)
    file.chmod(0o644)
    assert seen_by(ME, 100, file) == ""
    os.chown(file, STRANGER, STRANGER)
    assert f"sudo chown {ME}: {file}" in seen_by(ME, 100, file)
