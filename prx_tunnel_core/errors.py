"""Every error of prx-tunnel, split by what the caller should do.

    TunnelError
    ├── SetupError              someone must fix something: never retried
    │   ├── ConfigError         a key of the configuration; the command line exits with 2
    │   │   └── UnknownBackend  no installed distribution provides the backend
    │   ├── PluginError         an installed plugin is broken, or two claim one name
    │   ├── ProgramNotFound     the backend's program is missing or cannot be run
    │   └── ProgramStuck        a program does not end, even by KILL: a second one must not come
    └── ConnectError            may work next time: retried with back-off
        └── ProgramExited       the program ended before the tunnel was up

A backend raises `SetupError` or `ConnectError`; everything else that leaves it is a defect of the
backend, reported as one and retried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class TunnelError(Exception):
    """What went wrong with a tunnel, in words for the person who runs it."""


class SetupError(TunnelError):
    """Trying again cannot help: a setting, a credential or an installation has to change."""


class ConfigError(SetupError):
    """The configuration is wrong; the message names the key, the reason and the fix."""


class UnknownBackend(ConfigError):
    """The configured backend is not installed."""


class PluginError(SetupError):
    """A plugin cannot be used: it does not import, or another claims the same name."""


class ProgramNotFound(SetupError):
    """The program that a backend runs is missing, or is not something this machine can run."""


class ProgramStuck(SetupError):
    """A program is stuck in the system (a dead disk, a driver) and cannot be ended by anybody."""


class ConnectError(TunnelError):
    """Connecting did not work this time.

    `retry_after` is the least number of seconds before the next attempt; a backend sets it when
    its provider limits the rate.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProgramExited(ConnectError):
    """The program ended although it was needed.

    `returncode` is its exit code, negative for a signal; `tail` its last lines, redacted.
    """

    def __init__(self, message: str, *, returncode: int = 0, tail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.returncode = returncode
        self.tail = tuple(tail)


def unwrap(error: BaseException) -> BaseException:
    """The one exception inside groups of one, or the error itself.

    A task group wraps an exception of its body in a group even when nothing else went wrong;
    callers wrote `except ConnectError`, and shall not need `except*` for it.

    An interrupt or an exit comes out alone, whatever else is in the group: it is meant for the
    whole process. On asyncio it does so by itself, for it ends the loop; on trio it does not.
    """
    if isinstance(error, BaseExceptionGroup):
        ends = (leaf for leaf in leaves(error) if isinstance(leaf, KeyboardInterrupt | SystemExit))
        error = next(ends, error)
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group and the groups in it; of another error, itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


@contextmanager
def unwrap_group() -> Iterator[None]:
    """Raise what comes in a group of one as what it is."""
    try:
        yield
    except BaseExceptionGroup as group:
        error = unwrap(group)
    else:
        return
    # `from`: the group as the context would show the same error twice.
    raise error from error.__cause__
