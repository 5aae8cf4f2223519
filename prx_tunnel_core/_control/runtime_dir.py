"""The runtime directory of a user, with a lock and a socket for each tunnel name.

Only its user can enter it. Imports next to nothing, because `prx tunnel status` imports it; errors
are imported when one is raised.
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

LONGEST_ADDRESS = 103  # bytes; macOS has the shortest limit, 104 with the final NUL

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_OTHERS = _FIRST | frozenset("._-")


def is_name(name: str) -> bool:
    """Whether it is a valid tunnel name: `[a-z0-9][a-z0-9._-]{0,31}`."""
    return 0 < len(name) <= 32 and name[0] in _FIRST and _OTHERS.issuperset(name)


def check_name(name: str) -> str:
    if not is_name(name):
        from prx_tunnel_core.errors import ConfigError

        raise ConfigError(
            f"tunnel name {name!r} is invalid: use at most 32 of a-z, 0-9, '.', '_' and '-', "
            "beginning with a letter or a digit"
        )
    return name


def require_unix() -> None:
    if os.name != "posix":
        from prx_tunnel_core.errors import SetupError

        raise SetupError(
            "the control socket of a tunnel needs Linux or macOS; on Windows, run prx inside WSL"
        )


def runtime_path() -> str:
    """The path of the directory, which may not exist: the same for all processes of this user."""
    chosen = os.environ.get("PRX_TUNNEL_RUNTIME_DIR")
    if chosen:
        if not os.path.isabs(chosen):
            _refuse(chosen, "is not an absolute path")
        return chosen
    for parent in _runtime_parents():
        # The one of WSL may be open to all users; then all commands use the fallback below.
        if os.path.isabs(parent) and os.path.isdir(parent) and not trust.problem(parent):
            return os.path.join(parent, "prx-tunnel")
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        _homeless()
    if sys.platform == "darwin":
        # The same in a terminal, launchd and ssh, unlike $TMPDIR; never synchronised.
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
        # A cron job has no XDG_RUNTIME_DIR, but has to find the tunnels of its user's sessions.
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
        _refuse(path, "is not a directory (but a file or a symbolic link)")
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
        "(or set PRX_TUNNEL_RUNTIME_DIR to another directory of yours)"
    )


def is_own_socket(status: os.stat_result) -> bool:
    """Whether it is a socket of this user, and may be removed as the one of a dead tunnel."""
    return stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid()


def address(path: str, descriptor: int, file: str) -> str:
    """An address for the socket, short enough also for a long path."""
    direct = os.path.join(path, file)
    if len(os.fsencode(direct)) <= LONGEST_ADDRESS:
        return direct
    if os.path.isdir("/proc/self/fd"):
        return f"/proc/self/fd/{descriptor}/{file}"
    _refuse(path, "has too long a path for a socket address")
