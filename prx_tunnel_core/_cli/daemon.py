"""`start --detach`: run the tunnel in a daemon, wait until it is connected, write its log.

The daemon reports to its parent through a pipe: lines `note <text>` while it connects, then
`done <exit code>`, followed by the text to print.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Iterable
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from typing import IO

from prx_tunnel_core import trust
from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.command import FAILED, INTERRUPTED, exit_code
from prx_tunnel_core._cli.logs import KEPT, path_of
from prx_tunnel_core._cli.runner import TunnelSpec, run
from prx_tunnel_core._cli.signals import StopSignals
from prx_tunnel_core._cli.views import ERROR, WARNING, describe
from prx_tunnel_core._control.render import status_text
from prx_tunnel_core.errors import SetupError, TunnelError
from prx_tunnel_core.logs import PrintableFormatter, get_logger
from prx_tunnel_core.models import (
    Connected,
    Failed,
    Reconnecting,
    TunnelStatus,
    status_to_json,
)
from prx_tunnel_core.text import Redactor

logger = get_logger("prx_tunnel_core")

LARGEST = 1024 * 1024  # bytes of a log file, before it is rotated

_LEVELS = {WARNING: logging.WARNING, ERROR: logging.ERROR}


def detach(spec: TunnelSpec, secrets: Iterable[str], stop: StopSignals, *, as_json: bool) -> int:
    """Start the daemon, wait until it is connected, and return the exit code."""
    reading, writing = os.pipe()
    streams.flush()
    # Forking is safe here: no thread or event loop has been started yet.
    daemon = os.fork()
    if daemon == 0:
        code = FAILED
        try:
            _become_daemon(keep=writing)
            code = _serve(spec, secrets, stop, _Report(writing, spec, as_json=as_json))
        finally:
            os._exit(code)  # the child must not return to the parent's code
    os.close(writing)
    # The terminal does not send Ctrl-C to the daemon, which has a session of its own.
    stop.on_signal(lambda: _terminate(daemon))
    with open(reading, encoding="utf-8") as report:
        code = _follow(report, daemon, spec.name)
    stop.on_signal(None)
    return INTERRUPTED if code and stop.requested else code


def _become_daemon(*, keep: int) -> None:
    os.setsid()
    os.umask(0o077)
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for entry in os.listdir("/dev/fd"):
        # An inherited pipe that stays open here would keep its reader waiting.
        if int(entry) > 2 and int(entry) != keep:
            with contextlib.suppress(OSError):
                os.close(int(entry))


def _serve(spec: TunnelSpec, secrets: Iterable[str], stop: StopSignals, report: _Report) -> int:
    try:
        # Only once the name is locked: until then, another daemon may write this log.
        run(spec, report, stop, on_lock=lambda: start_logging(spec.name, secrets))
    except TunnelError as error:
        if not report.logged_failure:
            logger.error("%s", error)  # noqa: TRY400 - an expected error needs no traceback
        code = exit_code(error)
        report.done(code, str(error))
        return code
    except BaseException as error:
        logger.exception("a defect of prx-tunnel")
        defect = f"a defect of prx-tunnel: {type(error).__name__}"
        report.done(FAILED, f"{defect}; see: {_logs_command(spec.name)}")
        return FAILED
    finally:
        logging.shutdown()
    report.done(FAILED, "the tunnel was stopped before it was connected")
    return 0


class _Report:
    """The daemon's view: the log and, until the tunnel is connected, the waiting parent."""

    def __init__(self, pipe: int, spec: TunnelSpec, *, as_json: bool) -> None:
        self._pipe: IO[str] | None = open(pipe, "w", encoding="utf-8")  # noqa: SIM115
        self._spec = spec
        self._as_json = as_json
        self.logged_failure = False
        """Whether the reason is in the log; an error before the first attempt is not a status."""

    def show(self, status: TunnelStatus) -> None:
        config = self._spec.config.tunnel
        level, text = describe(status, config)
        logger.log(_LEVELS.get(level, logging.INFO), "%s", text)
        self.logged_failure = isinstance(status, Failed)
        if isinstance(status, Connected):
            self.done(0, self._status(status))
        elif isinstance(status, Reconnecting):  # `done` reports the end
            self._send(f"note [{level}] {' '.join(text.split())}\n")

    def note(self, line: str) -> None:
        """The log contains it already."""

    def done(self, code: int, text: str) -> None:
        """Set what `start --detach` prints and exits with; later calls are ignored."""
        self._send(f"done {code}\n{text}")
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                self._pipe.close()
            self._pipe = None

    def _status(self, status: Connected) -> str:
        config = self._spec.config.tunnel
        if self._as_json:
            return f"{json.dumps(status_to_json(self._spec.name, status, pid=os.getpid()))}\n"
        return status_text(status, config)

    def _send(self, text: str) -> None:
        # The parent may be gone; the tunnel runs nevertheless.
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                self._pipe.write(text)
                self._pipe.flush()


def _follow(report: IO[str], daemon: int, name: str) -> int:
    for line in report:
        kind, _, text = line.rstrip("\n").partition(" ")
        if kind == "note":
            streams.complain(text)
        elif kind == "done":
            return _conclude(int(text), report.read(), daemon)
    died = "the tunnel's process died before it was connected"
    streams.complain(f"prx: {died}; see: {_logs_command(name)}")
    os.waitpid(daemon, 0)
    return FAILED


def _conclude(code: int, text: str, daemon: int) -> int:
    if code == 0:
        streams.write(text)
        return 0
    streams.complain(f"prx: {text.rstrip()}")
    os.waitpid(daemon, 0)
    return code


def _logs_command(name: str) -> str:
    return "prx tunnel logs" if name == "default" else f"prx tunnel logs --name {name}"


def _terminate(daemon: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(daemon, signal.SIGTERM)


def start_logging(name: str, secrets: Iterable[str]) -> None:
    """Log the tunnel and its program's output to the log file of that name. Raises SetupError."""
    path = path_of(name)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = _LogFile(path, maxBytes=LARGEST, backupCount=KEPT, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"cannot write the log {path}: {error.strerror or error}") from None
    formatter = PrintableFormatter(
        "%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ", redact=Redactor(secrets)
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(capture=True)
    logging.getLogger("prx_tunnel_core").setLevel(logging.INFO)
    logging.getLogger("prx_tunnel_core.program").setLevel(logging.DEBUG)
    # The view logs each status change already.
    logging.getLogger("prx_tunnel_core.status").setLevel(logging.WARNING)


class _LogFile(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        return open(
            self.baseFilename,
            "a",
            encoding="utf-8",
            errors="backslashreplace",
            opener=_open_private,
        )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Ignore the error: a full disk must not disturb the tunnel, and stderr is /dev/null."""


def _open_private(path: str, flags: int) -> int:
    descriptor = trust.open_file(path, flags | os.O_NOFOLLOW)
    os.fchmod(descriptor, 0o600)
    return descriptor
