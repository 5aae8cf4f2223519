"""Every error of prx-tunnel, divided by what the caller can do about it.

    TunnelError
    ├── SetupError              someone must fix something: never retried
    │   ├── ConfigError         a key of the configuration; the command line exits with 2
    │   │   └── UnknownBackend  no installed distribution provides the backend
    │   ├── PluginError         an installed plugin is broken, or two claim one name
    │   ├── ProgramNotFound     the backend's program is missing or cannot be run
    │   └── ProgramStuck        a program does not end, even by KILL: a second one must not come
    └── ConnectError            may work next time: retried with back-off
        └── ProgramExited       the program ended before the tunnel was up

A backend raises `SetupError` or `ConnectError`. Any other exception from it is logged as a defect
of the backend, and retried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class TunnelError(Exception):
    """The base of all errors; its message is for the person who runs the tunnel.

    try:
        async with open_tunnel(config) as tunnel:
            await serve(tunnel)
    except SetupError as error:
        sys.exit(f"fix this first: {error}")
    except ConnectError as error:
        sys.exit(f"no connection; try again later: {error}")
    """


class SetupError(TunnelError):
    """Retrying cannot help: a setting, a credential or an installation has to change."""


class ConfigError(SetupError):
    """The configuration is invalid; the message names the key, the reason and the fix."""


class UnknownBackend(ConfigError):
    """The configured backend is not installed; the message says how to install it."""


class PluginError(SetupError):
    """A plugin cannot be used: its import fails, or another plugin has the same name."""


class ProgramNotFound(SetupError):
    """The program of a backend is missing, or this machine cannot execute it."""


class ProgramStuck(SetupError):
    """A program does not end, even by SIGKILL: it is blocked in the kernel (a disk, a driver)."""


class ConnectError(TunnelError):
    """Connecting failed, and may succeed later.

    `retry_after` is the minimum number of seconds before the next attempt; a backend sets it when
    its provider limits the rate.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProgramExited(ConnectError):
    """The program of a backend ended before the tunnel was up, or while it was in use.

    `returncode` is its exit code, or the negative number of the signal that ended it. `tail` has
    the last lines of its output, redacted.
    """

    def __init__(self, message: str, *, returncode: int = 0, tail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.returncode = returncode
        self.tail = tuple(tail)


def unwrap(error: BaseException) -> BaseException:
    """The one exception inside groups of one, or the error itself.

    A task group wraps an exception of its body in a group even when it is the only one, and callers
    of this library should be able to write `except ConnectError` instead of `except*`.

    KeyboardInterrupt and SystemExit are returned alone, whatever else is in the group, because they
    are meant for the whole process. (asyncio raises them alone itself, trio does not.)
    """
    if isinstance(error, BaseExceptionGroup):
        ends = (leaf for leaf in leaves(error) if isinstance(leaf, KeyboardInterrupt | SystemExit))
        error = next(ends, error)
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group and in the groups within it; any other error alone."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


@contextmanager
def unwrap_group() -> Iterator[None]:
    """Raise the exception of a group of one instead of the group; see `unwrap`."""
    try:
        yield
    except BaseExceptionGroup as group:
        error = unwrap(group)
    else:
        return
    # `from`, because the group as the context would show the same error twice.
    raise error from error.__cause__
