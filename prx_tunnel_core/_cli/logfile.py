"""The log of a detached tunnel: private, bounded, and never a reason to fail once it is open."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from prx_tunnel_core import trust
from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.logs import PrintableFormatter
from prx_tunnel_core.text import Redactor

LARGEST = 1024 * 1024  # bytes
KEPT = 3  # older files


def path_of(name: str) -> Path:
    import platformdirs

    try:
        directory = platformdirs.user_log_path("prx-tunnel", appauthor=False)
    except RuntimeError:
        raise SetupError(
            "this user has no home directory; set XDG_STATE_HOME to a directory"
        ) from None
    return directory / f"{name}.log"


def start_logging(name: str, secrets: Iterable[str]) -> None:
    """Write what the tunnel and its program say into the log of that name; raises SetupError."""
    path = path_of(name)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = _LogFile(path, maxBytes=LARGEST, backupCount=KEPT, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"the log {path} cannot be written: {error.strerror or error}") from None
    formatter = PrintableFormatter(
        "%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ", redact=Redactor(secrets)
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(capture=True)
    logging.getLogger("prx_tunnel_core").setLevel(logging.INFO)
    logging.getLogger("prx_tunnel_core.program").setLevel(logging.DEBUG)
    # The view tells each change, for whoever reads the log as for whoever watches.
    logging.getLogger("prx_tunnel_core.status").setLevel(logging.WARNING)


class _LogFile(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        return open(
            self.baseFilename, "a", encoding="utf-8", errors="backslashreplace", opener=_open_own
        )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: a disk that is full is not the tunnel's fault, and nobody is listening."""


def _open_own(path: str, flags: int) -> int:
    descriptor = trust.open_file(path, flags | os.O_NOFOLLOW)
    os.fchmod(descriptor, 0o600)
    return descriptor
