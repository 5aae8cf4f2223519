"""Where running tunnels are found: one directory per user, which nobody else can enter.

Imports next to nothing, because `prx tunnel status` does: errors are imported when one is raised.
"""

from __future__ import annotations

import os
import stat
import sys

from prx_tunnel_core import trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

LONGEST_ADDRESS = 103  # bytes that a socket address holds everywhere (104 on macOS, with its NUL)

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_OTHERS = _FIRST | frozenset("._-")


def is_name(name: str) -> bool:
    """Whether a tunnel can have that name: `[a-z0-9][a-z0-9._-]{0,31}`."""
    return 0 < len(name) <= 32 and name[0] in _FIRST and _OTHERS.issuperset(name)


def check_name(name: str) -> str:
    if not is_name(name):
        from prx_tunnel_core.errors import ConfigError

        raise ConfigError(
            f"tunnel name {name!r}: use a-z, 0-9, '.', '_' and '-', beginning with a letter or a "
            "digit, at most 32 characters"
        )
    return name


def require_unix() -> None:
    if os.name != "posix":
        from prx_tunnel_core.errors import SetupError

        raise SetupError(
            "the control socket of a tunnel needs Linux or macOS; on Windows run prx inside WSL"
        )


def runtime_path() -> str:
    """The directory, which need not exist: the same for every process of this user."""
    chosen = os.environ.get("PRX_TUNNEL_RUNTIME_DIR")
    if chosen:
        if not os.path.isabs(chosen):
            _refuse(chosen, "is not an absolute path")
        return chosen
    for parent in _runtime_parents():
        # That of WSL may be open to all; there is another place then, the same for all commands.
        if os.path.isabs(parent) and os.path.isdir(parent) and not trust.problem(parent):
            return os.path.join(parent, "prx-tunnel")
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        _homeless()
    if sys.platform == "darwin":
        # Found from a terminal, launchd and ssh alike, which $TMPDIR is not; never synchronised.
        return os.path.join(home, "Library/Caches/TemporaryItems/prx-tunnel")
    return os.path.join(home, ".local/state/prx-tunnel/run")


def _homeless() -> NoReturn:
    from prx_tunnel_core.errors import SetupError

    raise SetupError(
        "there is no runtime directory, because this user has no home directory; set "
        "PRX_TUNNEL_RUNTIME_DIR to a directory of yours, the same for every command"
    )


def _runtime_parents() -> Iterator[str]:
    yield os.environ.get("XDG_RUNTIME_DIR", "")
    if sys.platform == "linux":
        # A job of cron has no XDG_RUNTIME_DIR, and shall find the tunnels of its user's sessions.
        yield f"/run/user/{os.geteuid()}"


def open_directory(path: str, *, create: bool) -> int:
    """A descriptor of the runtime directory, verified to be private.

    Raises SetupError when it cannot be trusted, FileNotFoundError when it is missing.
    """
    require_unix()
    if create:
        _create(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except NotADirectoryError:  # which a symbolic link is, too
        _refuse(path, "is not a directory of its own (a file or a symbolic link)")
    except OSError as error:
        _refuse(path, f"cannot be opened: {error.strerror}")
    reason = _distrust(path, descriptor)
    if reason:
        os.close(descriptor)
        _refuse(path, reason)
    return descriptor


def _create(path: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        _refuse(path, f"cannot be created: {error.strerror}")


def _distrust(path: str, descriptor: int) -> str:
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        return f"belongs to user {status.st_uid}, and you are user {os.geteuid()}"
    if stat.S_IMODE(status.st_mode) & 0o077:
        return f"is open to other users; run: chmod 700 {path}"
    try:
        problem = trust.problem(path, descriptor)
    except OSError as error:
        return f"cannot be verified: {error.strerror}"
    return problem and f"is not trusted: {problem}"


def _refuse(path: str, reason: str) -> NoReturn:
    from prx_tunnel_core.errors import SetupError

    raise SetupError(
        f"the runtime directory {path} {reason} "
        "(PRX_TUNNEL_RUNTIME_DIR may name another directory of yours)"
    )


def is_own_socket(status: os.stat_result) -> bool:
    """Whether that can be the socket of a tunnel of this user, which may be removed as such."""
    return stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid()


def address(path: str, descriptor: int, file: str) -> str:
    """A socket's address that is short enough, however long the directory's path is."""
    direct = os.path.join(path, file)
    if len(os.fsencode(direct)) <= LONGEST_ADDRESS:
        return direct
    if os.path.isdir("/proc/self/fd"):
        return f"/proc/self/fd/{descriptor}/{file}"
    _refuse(path, "is too long for the address of a socket")
