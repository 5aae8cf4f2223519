"""Find the program and start it; say in words what is wrong when that fails."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from io import FileIO
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import RunVar

from prx_tunnel_core import trust
from prx_tunnel_core._loop_local import loop_local
from prx_tunnel_core.errors import ConnectError, ProgramNotFound, SetupError
from prx_tunnel_core.expansion import expand_home

if TYPE_CHECKING:
    from pydantic import SecretStr

# What a child needs to find its files, its language and the network. Everything else, and with it
# every other backend's token, stays here.
INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR",
    "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip

_spawning: RunVar[anyio.Lock] = RunVar("prx_tunnel_spawning")

_TRANSIENT = {errno.ETXTBSY, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


def check(command: Sequence[str]) -> None:
    """Raise SetupError for what no operating system, or not this one, can run."""
    if sys.platform == "win32":
        raise SetupError("running a tunnel program needs Linux or macOS; on Windows use WSL")
    if not command:
        raise SetupError("the command is empty")
    if any("\x00" in word for word in command):
        raise SetupError(f"{command[0]!r}: an argument has a NUL character")


def find_program(name: str, *, hint: str = "") -> str:
    """The absolute path of a program, from PATH unless it is a path already.

    Raises ProgramNotFound, with where it was looked for and the hint how to install it; SetupError
    when others could replace it.
    """
    path = name if os.sep in name else _search(name, hint)
    path = os.path.abspath(expand_home(path))
    _check_trust(path, hint)
    return path


def reveal(env: Mapping[str, str | SecretStr]) -> tuple[dict[str, str], list[str]]:
    """The variables in plain text, and those texts among them that are secret."""
    plain: dict[str, str] = {}
    hidden: list[str] = []
    for key, value in env.items():
        if isinstance(value, str):
            plain[key] = value
        else:
            plain[key] = value.get_secret_value()
            hidden.append(plain[key])
    return plain, hidden


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {key: os.environ[key] for key in INHERITED if key in os.environ}
    kept |= {key: value for key, value in os.environ.items() if key.startswith("LC_")}
    kept |= extra
    for key, value in kept.items():
        if not key or "=" in key or "\x00" in key + value:
            raise SetupError(f"environment variable {key!r}: not a valid name or value")
    return kept


def spawning() -> anyio.Lock:
    """Held by who starts a program, so that others get their turn between two.

    A start holds the event loop for milliseconds, and a thousand may be due at once.
    """
    return loop_local(_spawning, anyio.Lock)


def spawn(
    command: Sequence[str], *, env: Mapping[str, str], cwd: str | None
) -> subprocess.Popen[bytes]:
    """Start the program in a session of its own, its output in two pipes.

    Raises SetupError for what someone must fix, ConnectError for what passes.
    """
    # A child inherits the thread's blocked signals, and would never hear TERM.
    blocked = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        return _popen(command, env, cwd)
    except OSError as error:
        raise _explain(error, command[0], cwd) from None
    except ValueError as error:  # NUL in `cwd`, or a character that the file system cannot encode
        raise SetupError(f"{command[0]} could not be started: {error}") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _popen(
    command: Sequence[str], env: Mapping[str, str], cwd: str | None
) -> subprocess.Popen[bytes]:
    """With pipes of ours: before Python 3.11.4, `Popen` leaves those open that it has opened when
    there is no descriptor for the next one.
    """
    with ExitStack() as ours, ExitStack() as given:
        null = given.enter_context(open(os.devnull, "rb", buffering=0))
        (out, to_out), (err, to_err) = (_pipe(ours, given) for _ in range(2))
        process = subprocess.Popen(
            command,
            stdin=null,
            stdout=to_out,
            stderr=to_err,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
        ours.pop_all()
    process.stdout, process.stderr = out, err
    return process


def _pipe(ours: ExitStack, given: ExitStack) -> tuple[FileIO, FileIO]:
    """The end to read from and the end to write to, each closed with its stack."""
    reading, writing = os.pipe()
    return (
        ours.enter_context(open(reading, "rb", buffering=0)),
        given.enter_context(open(writing, "wb", buffering=0)),
    )


def _search(name: str, hint: str) -> str:
    # A relative entry of PATH would run whatever lies in the working directory.
    folders = [f for f in os.environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(f)]
    candidates = [os.path.join(folder, name) for folder in folders]
    for path in candidates:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    unusable = next((path for path in candidates if os.path.isfile(path)), None)
    if unusable is not None:
        raise ProgramNotFound(f"{unusable} is not executable; run: chmod +x {unusable}")
    searched = os.pathsep.join(folders)
    raise ProgramNotFound(_with_hint(f"{name!r} was not found in PATH ({searched})", hint))


def _check_trust(path: str, hint: str) -> None:
    try:
        is_folder, problem = os.path.isdir(path), trust.problem(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ProgramNotFound(_with_hint(f"{path!r}: {reason}", hint)) from None
    if is_folder:
        raise ProgramNotFound(f"{path} is a directory, not a program")
    if not os.access(path, os.X_OK):
        raise ProgramNotFound(f"{path} is not executable; run: chmod +x {path}")
    if problem:
        raise SetupError(f"{path} is not trusted: {problem}")


def _explain(error: OSError, program: str, cwd: str | None) -> SetupError | ConnectError:
    if error.errno in _TRANSIENT:
        return ConnectError(f"{program} could not be started: {error.strerror}")
    if cwd is not None and error.filename == cwd:
        return SetupError(f"the working directory {cwd}: {error.strerror}")
    if error.errno == errno.ENOENT and os.path.exists(program):
        return ProgramNotFound(f"{program}: {_missing_interpreter(program)}")
    if error.errno == errno.ENOEXEC:
        return ProgramNotFound(
            f"{program} is not a program, or one for another kind of machine (ENOEXEC)"
        )
    if error.errno == errno.E2BIG:
        return SetupError(f"{program}: an argument or a variable is too long (E2BIG)")
    return ProgramNotFound(f"{program}: {error.strerror}")


def _missing_interpreter(program: str) -> str:
    try:
        with open(program, "rb") as file:
            first = file.readline(256)
    except OSError:
        first = b""  # one may run what one may not read
    if first.startswith(b"#!"):
        interpreter, *_ = first[2:].decode(errors="replace").split() or [""]
        return f"its interpreter {interpreter!r} does not exist"
    return "the loader that it needs does not exist (a program for another C library?)"


def _with_hint(message: str, hint: str) -> str:
    return f"{message}; {hint}" if hint else message
