"""Whether other users could change, replace or read a file that this process is about to use.

One rule for the configuration, programs, the runtime directory, logs and key files:

- The file and each folder on the way to it belong to root or to the effective user.
- No other user may write to them, whether by the mode, through a group or through a POSIX ACL.
- A folder with the sticky bit, such as /tmp, may be writable: other users can add to it, but not
  remove or rename what is ours. A symbolic link in such a folder must be ours, too.

The path is followed as the kernel follows it, link by link and from the root down, so each name is
looked up in a folder that other users can no longer change. Imports next to nothing, because
`prx tunnel status` uses this.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_READ, _WRITE = 4, 2  # of the last digit of a mode, and of an entry of an ACL
_ACL = "system.posix_acl_access"
_USER, _OWNING_GROUP, _GROUP, _MASK = 2, 4, 8, 16  # kinds of entries of an ACL
_UNMAPPED = 65534  # shown for every owner that a user namespace does not map
_MAC_ADMINISTRATORS = 80  # each of them can become root
_LINKS = 40  # as many as Linux follows


class Untrusted(PermissionError):
    """Other users could change, replace or read a file; `strerror` has the reason and the fix."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def open_file(path: str, flags: int = os.O_RDONLY, *, private: bool = False) -> int:
    """Open a regular file that only this user and root can change or replace.

    Returns its descriptor. With `private`, no other user may be able to read it either. The file is
    opened first and judged by its descriptor, so it cannot be exchanged in between. Raises
    Untrusted, or another OSError.

        with open(trust.open_file(path, private=True), encoding="utf-8") as file:
            token = file.read().strip()
    """
    for each in ("O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK"):  # a FIFO would wait for a writer
        flags |= getattr(os, each, 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        _require_file(path, descriptor)
        reason = problem(path, descriptor) or (_exposure(path, descriptor) if private else "")
        if reason:
            raise Untrusted(errno.EPERM, f"not trusted: {reason}", path)  # noqa: TRY301
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_file(path: str, descriptor: int) -> None:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", path)


def problem(path: str, descriptor: int | None = None) -> str:
    """Why other users could change or replace the file, and what to do; "" when they cannot.

    With a descriptor, it must be the file at the path. Raises OSError for a path without a file.
    """
    if os.name != "posix":
        return ""
    shared: set[str] = set()
    for entry, status, last in _way(path):
        above = os.path.dirname(entry)
        if stat.S_ISLNK(status.st_mode):
            # A link with several names may be a hard link to one of ours from elsewhere, which not
            # every system forbids other users to make.
            if above in shared and (not _is_ours(status) or status.st_nlink > 1):
                return (
                    f"the link {entry} can be replaced by other users, because it is in {above}; "
                    f"name the file itself: {_quoted(os.path.realpath(path))}"
                )
            continue
        opened = descriptor if last else None
        if opened is not None:
            if not os.path.samestat(status, os.fstat(opened)):
                return "it was replaced while it was opened; try again"
            status = os.fstat(opened)  # noqa: PLW2901 - the opened file counts
        # In a sandbox that does not map root, `/home` has an unknown owner, who is root. The owner
        # of what is further down could be any user.
        is_first = above == "/" and stat.S_ISDIR(status.st_mode)
        if not (_is_ours(status) or (is_first and _is_unmapped(status.st_uid))):
            return _of_another(entry, status)
        others = _others(status, entry if opened is None else opened, _WRITE)
        if others and stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
            shared.add(entry)
        elif others:
            who, in_acl = others
            command = _run("setfacl -b" if in_acl else "chmod go-w", entry, status)
            return f"{_subject(entry, status)} can be changed by {who}; {command}"
    return ""


def readable_by_others(path: str) -> bool:
    """Whether other users can read the file, by its mode, a group or an ACL."""
    return os.name == "posix" and _others(os.stat(path), path, _READ) is not None


def _exposure(path: str, descriptor: int) -> str:
    """Why others can read a secret, and what to do."""
    status = os.fstat(descriptor)
    if os.name != "posix" or (others := _others(status, descriptor, _READ)) is None:
        return ""
    who, in_acl = others
    only_mine = "chmod 600" if status.st_uid == os.geteuid() else "chmod o-rwx"
    command = _run("setfacl -b" if in_acl else only_mine, path, status)
    return f"it is secret and can be read by {who}; {command}"


def _way(path: str) -> Iterator[tuple[str, os.stat_result, bool]]:
    """Each folder and link on the way, then the file itself, which is marked as the last."""
    if not os.path.isabs(path):
        path = os.path.join(os.getcwd(), path)
    here, left, links = "/", _names(path), 0
    yield here, os.lstat(here), not left
    while left:
        name = left.pop()
        if name == "..":
            here = os.path.dirname(here)
            continue
        entry = os.path.join(here, name)
        status = os.lstat(entry)
        if not stat.S_ISLNK(status.st_mode):
            here = entry
            yield entry, status, not left
            continue
        yield entry, status, False
        links += 1
        if links > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink(entry)
        left += _names(target)
        here = "/" if os.path.isabs(target) else here


def _names(path: str) -> list[str]:
    """The parts of the path, the first one at the end."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())


def _is_unmapped(user: int) -> bool:
    """Whether the number stands for the owners that this user namespace does not map."""
    if user != _UNMAPPED:
        return False
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            numbers = [tuple(map(int, line.split())) for line in file]
    except OSError:
        return False
    return not any(first <= user < first + count for first, _, count in numbers)


def _others(status: os.stat_result, file: str | int, right: int) -> tuple[str, bool] | None:
    """The users who also have that right, and whether an ACL grants it."""
    mode = f"(mode {stat.S_IMODE(status.st_mode):o})"
    if status.st_mode & right:
        return f"other users {mode}", False
    if not status.st_mode & right << 3:  # the right of the group; where there is an ACL, its mask
        return None
    entries = _entries(file)
    mask = next((rights for kind, rights, _ in entries if kind == _MASK), 7)
    for kind, rights, number in entries:
        if not rights & mask & right:
            continue
        if kind == _USER and number not in (0, os.geteuid()):
            return f"{_user(number)} through an ACL", True
        if kind == _GROUP and not _may_share(number, status, right):
            return f"{_group(number)} through an ACL", True
        if kind == _OWNING_GROUP and not _may_share(status.st_gid, status, right):
            return f"{_group(status.st_gid)} {mode}", False
    return None


def _entries(file: str | int) -> list[tuple[int, int, int]]:
    """Kind, rights and number of each entry of its ACL; the group's alone where it has none."""
    try:
        value = os.getxattr(file, _ACL) if sys.platform == "linux" else b""
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP, errno.ENOSYS):
            raise
        value = b""
    if not value:
        return [(_OWNING_GROUP, 7, 0)]
    import struct

    return list(struct.iter_unpack("<HHI", value[4:]))  # after its version


def _may_share(group: int, status: os.stat_result, right: int) -> bool:
    """Whether the file with that status may grant that right to the group."""
    me, is_mine = os.geteuid(), group in (os.getegid(), *os.getgroups())
    if right == _READ:  # a secret of root's that is given to this user by a group
        return status.st_uid == 0 != me and is_mine
    members = _members(group)
    if members is None or members - {0, me}:
        return False
    # Databases that list the members of our own groups list us. Debian lets a group, which has no
    # members at first, write in /usr/local; root's folders may have such a group.
    folder_of_root = status.st_uid == 0 and stat.S_ISDIR(status.st_mode)
    return group == 0 or me in members or (folder_of_root and not is_mine)


def _members(group: int) -> set[int] | None:
    """The users in the group, -1 for one without an account; None for an unknown group."""
    import grp
    import pwd

    me = os.geteuid()
    if group == _MAC_ADMINISTRATORS and sys.platform == "darwin":
        return {0, me}
    try:
        entry = grp.getgrgid(group)
    except KeyError:
        return set() if group == 0 else None
    accounts = pwd.getpwall()
    numbers = {account.pw_name: account.pw_uid for account in accounts}
    members = {numbers.get(name, -1) for name in entry.gr_mem}
    if group != 0:  # which Red Hat gives to accounts that nobody logs in to
        members |= {account.pw_uid for account in accounts if account.pw_gid == group}
    # A directory service may not list its users; a private group has its user's name.
    if _account(me)[0] == entry.gr_name:
        members.add(me)
    return members


def _of_another(entry: str, status: os.stat_result) -> str:
    (name, home), me = _account(status.st_uid), os.geteuid()
    owner, is_folder = _user(status.st_uid), stat.S_ISDIR(status.st_mode)
    could = "replace what is in it" if is_folder else "change it"
    fix = "use a copy in a folder of yours"
    if is_unmapped := _is_unmapped(status.st_uid):
        owner = "an owner that this user namespace does not know"
    elif not (is_folder and entry == home):
        fix = _run(f"chown {_account(me)[0] or me}:", entry, status)
    if me == 0 and not is_unmapped:
        fix += f", or run this as {name or owner}"
    return f"{_subject(entry, status)} belongs to {owner}, who could {could}; {fix}"


def _subject(entry: str, status: os.stat_result) -> str:
    return f"the folder {entry}" if stat.S_ISDIR(status.st_mode) else "it"


def _run(command: str, entry: str, status: os.stat_result) -> str:
    sudo = "" if os.geteuid() in (0, status.st_uid) else "sudo "
    return f"run: {sudo}{command} {_quoted(entry)}"


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)


def _user(number: int) -> str:
    name, _ = _account(number)
    return f"{name} (uid {number})" if name else f"user {number}"


def _account(user: int) -> tuple[str, str]:
    """Its name and home, empty where there is none."""
    import pwd

    try:
        account = pwd.getpwuid(user)
    except KeyError:
        return "", ""
    return account.pw_name, account.pw_dir


def _group(number: int) -> str:
    import grp

    try:
        return f"group {grp.getgrgid(number).gr_name}"
    except KeyError:
        return f"group {number}"
