"""One small process per host that ends the host's programs when the host itself cannot.

A host that is SIGKILLed runs no `finally`. Everything in-process falls short: PR_SET_PDEATHSIG
covers only the direct child and depends on the thread that spawned it, and a pipe held by the
children does not fire while a forked worker still holds its other end.
"""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import sys
import threading
from importlib.resources import files

from prx_tunnel_core.process.group import HOST_TOKEN

logger = logging.getLogger("prx_tunnel_core")

_lock = threading.Lock()
_current: _Guard | None = None


def adopt(pid: int) -> None:
    """Have the group of this child ended when this host dies."""
    with _lock:
        _of_this_process().tell(pid, alive=True)


def release(pid: int) -> None:
    """The group is gone: its number is nobody's any more."""
    with _lock:
        _of_this_process().tell(pid, alive=False)


def prepare() -> None:
    """Start the guard, so that it is there before the child that it is for."""
    with _lock:
        _of_this_process()


def _of_this_process() -> _Guard:
    """The guard of this process: a fork has the memory of its parent's guard, but none itself."""
    global _current  # noqa: PLW0603 - one per process is the point
    if _current is None or _current.host != os.getpid():
        _current = _Guard()
        atexit.register(_current.dismiss)
    return _current


class _Guard:
    def __init__(self) -> None:
        self.host = os.getpid()
        self._adopted: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    def tell(self, pid: int, *, alive: bool) -> None:
        (self._adopted.add if alive else self._adopted.discard)(pid)
        if self._send(f"{'+' if alive else '-'}{pid}\n"):
            return
        self._start()  # somebody killed it: the new one is told of everyone
        self._send("".join(f"+{pid}\n" for pid in self._adopted))

    def dismiss(self) -> None:
        """The interpreter ends, in order: what still runs ends now, and then the guard."""
        if self.host != os.getpid() or self._process is None:
            return
        self._send("end\n")
        self._close_pipe()
        try:
            self._process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            logger.warning("the guard process %d does not end", self._process.pid)
        self._process = None

    def _start(self) -> None:
        if self._process is not None:
            self._close_pipe()
            self._process.poll()
            self._process = None
        if sys.platform == "win32" or not sys.executable:
            return  # an embedded interpreter names no program that could run the guard
        script = str(files(__package__).joinpath("guard_main.py"))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", script, str(self.host), HOST_TOKEN],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            logger.warning("no guard: programs would outlive a kill of this process (%s)", error)
            return
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)

    def _send(self, text: str) -> bool:
        if self._process is None or self._process.stdin is None:
            return sys.platform == "win32" or not sys.executable
        try:
            os.write(self._process.stdin.fileno(), text.encode())
        except BlockingIOError:
            logger.warning("the guard process %d does not read", self._process.pid)
        except OSError:
            return False
        return True

    def _close_pipe(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
