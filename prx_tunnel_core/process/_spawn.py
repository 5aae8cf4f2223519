"""Find a program and start it; explain what to do when that fails."""

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
from prx_tunnel_core.process._reaper.tokens import TOKEN_VARIABLE

if TYPE_CHECKING:
    from pydantic import SecretStr

# What a child needs to find its files, its language and the network. It gets nothing else, and so
# no credential of another backend.
INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR",
    "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip

_spawning: RunVar[anyio.Lock] = RunVar("prx_tunnel_spawning")

_TRANSIENT = {errno.ETXTBSY, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


def checked(command: Sequence[str]) -> Sequence[str]:
    """The command, if this operating system can run it. Raises SetupError."""
    if sys.platform == "win32":
        raise SetupError("running a tunnel program needs Linux or macOS; on Windows use WSL")
    if not command:
        raise SetupError("the command is empty")
    if any("\x00" in word for word in command):
        raise SetupError(f"{command[0]!r}: an argument has a NUL character")
    return command


def find_program(name: str, *, hint: str = "") -> str:
    """Return the absolute path of a program, searched in PATH unless `name` has a slash.

        path = find_program("bore", hint="install it with: cargo install bore-cli")

    Relative entries of PATH are skipped; `~` stands for the home directory. Raises ProgramNotFound,
    with the directories that were searched and the hint, when there is no executable file, and
    SetupError when other users could replace it.
    """
    path = name if os.sep in name else _search(name, hint)
    path = os.path.abspath(expand_home(path))
    _check_trust(path, hint)
    return path


def child_environment(
    extra: Mapping[str, str | SecretStr], token: str
) -> tuple[dict[str, str], list[str]]:
    """All variables of a child in plain text, and the values of `extra` that are secret."""
    kept = {key: os.environ[key] for key in INHERITED if key in os.environ}
    kept |= {key: value for key, value in os.environ.items() if key.startswith("LC_")}
    hidden = []
    for key, value in extra.items():
        if isinstance(value, str):
            kept[key] = value
        else:
            kept[key] = value.get_secret_value()
            hidden.append(kept[key])
    kept[TOKEN_VARIABLE] = os.environ.get(TOKEN_VARIABLE, "") + token
    for key, value in kept.items():
        if not key or "=" in key or "\x00" in key + value:
            raise SetupError(f"environment variable {key!r}: not a valid name or value")
    return kept, hidden


def spawning() -> anyio.Lock:
    """The lock to hold while a program is started, so that other tasks run between two starts.

    A start blocks the event loop for milliseconds, and a thousand may be due at once.
    """
    return loop_local(_spawning, anyio.Lock)


def spawn(
    command: Sequence[str], *, env: Mapping[str, str], cwd: str | None
) -> subprocess.Popen[bytes]:
    """Start the program in a new session, with a pipe for each output stream.

    Raises SetupError for what the user must fix, ConnectError for transient failures.
    """
    # A child inherits the thread's signal mask, and would never receive a blocked TERM.
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
    """Makes the pipes itself: before Python 3.11.4, `Popen` leaks those that it has opened when
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
    """The end to read from and the end to write to; each is closed with its stack."""
    reading, writing = os.pipe()
    return (
        ours.enter_context(open(reading, "rb", buffering=0)),
        given.enter_context(open(writing, "wb", buffering=0)),
    )


def _search(name: str, hint: str) -> str:
    # A relative entry of PATH would run what is in the working directory.
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
        first = b""  # a program may be executable and not readable
    if first.startswith(b"#!"):
        interpreter, *_ = first[2:].decode(errors="replace").split() or [""]
        return f"its interpreter {interpreter!r} does not exist"
    return "the loader that it needs does not exist (a program for another C library?)"


def _with_hint(message: str, hint: str) -> str:
    return f"{message}; {hint}" if hint else message
