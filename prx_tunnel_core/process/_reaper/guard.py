"""The guard: a small process beside the host that ends its programs when the host is killed.

A host that gets KILL runs no `finally`. The alternatives do not suffice: PR_SET_PDEATHSIG covers
only the direct child and depends on the thread that spawned it, and a pipe to the children stays
open as long as a forked worker of the host holds its other end.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import tempfile
import threading

from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.process._reaper import sweep
from prx_tunnel_core.process._reaper.tokens import host_token, of_host

logger = get_logger("prx_tunnel_core")

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guard_main.py")
# An interpreter that was built with libraries in an unusual place does not start without them.
INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
FAREWELL = 3.0  # seconds; the guard takes less than two for a group that ignores TERM

# How orders to the guard begin; see guard_main.py.
_GROUP, _ALONE, _GONE, _SPARED, _FOLDER, _REMOVED = "+", "*", "-", "~", "/", "!"

_lock = threading.Lock()
_current: _Guard | None = None


def adopt(pid: int, *, alone: bool = False) -> None:
    """Have the group of this child ended when this host dies.

    With `alone`, only the child: its group has other processes, which are not ours.
    """
    with _lock:
        _of_this_process().order(pid, _ALONE if alone else _GROUP)


def release(pid: int) -> None:
    """The group is gone, and its id may be reused."""
    with _lock:
        _of_this_process().order(pid, _GONE)


def spare(token: str) -> None:
    """Exempt processes that carry this token from clean-up."""
    with _lock:
        _of_this_process().spare(token)


def remove_later(folder: str) -> None:
    """Have the folder removed when this host dies, after its programs have ended."""
    with _lock:
        _of_this_process().order_folder(folder, _FOLDER)


def was_removed(folder: str) -> None:
    with _lock:
        _of_this_process().order_folder(folder, _REMOVED)


def prepare() -> None:
    """Start the guard, so that it runs before the child that it is for."""
    with _lock:
        _of_this_process()


def _of_this_process() -> _Guard:
    global _current  # noqa: PLW0603 - one per process is the point
    if _current is None:
        _current = _Guard()
        atexit.register(_dismiss)
        if sys.platform != "win32":
            os.register_at_fork(after_in_child=_forget)
    return _current


def _dismiss() -> None:
    """At the orderly end of the interpreter: what still runs ends now, and then the guard."""
    with _lock:
        if _current is not None:
            _current.dismiss()


def _forget() -> None:
    """In a fork, which has no guard, and a lock that another thread may have held."""
    global _lock, _current  # noqa: PLW0603
    _lock = threading.Lock()
    if _current is not None:
        _current.disown()
        _current = None


class _Guard:
    def __init__(self) -> None:
        self._adopted: dict[int, str] = {}
        self._spared: list[str] = []
        self._folders: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._unavailable = _interpreter() is None
        self._start()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def order(self, pid: int, what: str) -> None:
        self._adopted.pop(pid, None)
        if what != _GONE:
            self._adopted[pid] = what
        self._say(f"{what}{pid}\n")

    def spare(self, token: str) -> None:
        self._spared.append(token)
        self._say(f"{_SPARED}{token}\n")

    def order_folder(self, folder: str, what: str) -> None:
        self._folders.discard(folder)
        if what == _FOLDER:
            self._folders.add(folder)
        self._say(_about(folder, what))

    def _say(self, line: str) -> None:
        if self._unavailable or self._send(line):
            return
        self._start()  # it was killed: the new one gets all orders again
        for token in self._spared:
            self._send(f"{_SPARED}{token}\n")
        for each, sign in self._adopted.items():
            self._send(f"{sign}{each}\n")
        for folder in self._folders:
            self._send(_about(folder, _FOLDER))

    def dismiss(self) -> None:
        if self._process is None or self._process.stdin is None:
            return
        if not self._adopted and not self._folders and not self._left():
            self._process.kill()  # it has nothing to do, and must not delay the exit
        elif sys.platform != "win32":
            self._process.send_signal(signal.SIGCONT)
            self._send("end\n")
        self._process.stdin.close()
        try:
            self._process.wait(timeout=FAREWELL)
        except subprocess.TimeoutExpired:
            logger.warning("the guard process %d does not end", self._process.pid)
        self._process = None

    def _left(self) -> list[int]:
        spared = [token.encode() for token in self._spared]
        return sweep.carriers(of_host(host_token().encode(), spared))

    def disown(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.returncode = 0  # or Python warns that it is still running

    def _start(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.poll()
            self._process = None
        if (interpreter := _interpreter()) is None:
            return
        try:
            # Opened first: before Python 3.11.4, a later failure would leak the pipe.
            with open(os.devnull, "wb", buffering=0) as null:
                self._process = subprocess.Popen(
                    [interpreter, "-I", "-S", SCRIPT, str(os.getpid()), host_token()],
                    stdin=subprocess.PIPE,
                    stdout=null,
                    stderr=null,
                    bufsize=0,
                    env=_environment(),
                    cwd="/",
                    start_new_session=True,
                )
        except (OSError, RuntimeError) as error:  # RuntimeError: the interpreter is ending
            logger.warning("no guard: programs would outlive a kill of this process (%s)", error)
            return
        if self._process.stdin is not None and sys.platform != "win32":
            os.set_blocking(self._process.stdin.fileno(), False)

    def _send(self, text: str) -> bool:
        """Write to the guard; False when it is gone. A line is short enough to arrive whole."""
        if self._process is None or self._process.stdin is None:
            return False
        # Where SIGPIPE is not ignored, writing to one that has ended would end the host.
        if self._process.poll() is not None:
            return False
        try:
            os.write(self._process.stdin.fileno(), text.encode())
        except BlockingIOError:
            logger.warning("the guard process %d does not read", self._process.pid)
        except OSError:
            return False
        return True


def _environment() -> dict[str, str]:
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    try:
        environment["TMPDIR"] = tempfile.gettempdir()
    except OSError:  # no folder is writable, so there is nothing to remove
        environment["TMPDIR"] = ""
    return environment


def _about(folder: str, what: str) -> str:
    return f"{what}{os.fsencode(folder).hex()}\n"


def _interpreter() -> str | None:
    """The interpreter; None where `sys.executable` is an embedding or frozen program."""
    name = os.path.basename(sys.executable or "").lower()
    usable = name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)
    return sys.executable if usable and sys.platform != "win32" else None
