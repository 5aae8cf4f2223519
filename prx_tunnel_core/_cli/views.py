"""How a tunnel's status reads, and the views for output that is not a terminal: lines or JSON."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from typing import Protocol
from urllib.parse import urlsplit

from prx_tunnel_core._cli import streams
from prx_tunnel_core._control.render import local, of_attempts
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.logs import PrintableFormatter
from prx_tunnel_core.models import (
    Connected,
    Connecting,
    Failed,
    Idle,
    Reconnecting,
    Stopped,
    TunnelStatus,
    status_to_json,
)
from prx_tunnel_core.text import Redactor, printable_lines
from prx_tunnel_core.urls import ip, is_loopback

INFO, WARNING, ERROR = "INFO", "WARN", "ERROR"


class View(Protocol):
    """Where the changes of a tunnel's status are shown."""

    def show(self, status: TunnelStatus) -> None: ...
    def note(self, line: str) -> None:
        """Show a line that is not a status, such as a warning from the log."""
        ...


class PlainView:
    """One line for each status. A failure is left out: the command reports it on stderr."""

    def __init__(self, config: TunnelConfig) -> None:
        self._config = config

    def show(self, status: TunnelStatus) -> None:
        if isinstance(status, Failed):
            return
        level, text = describe(status, self._config)
        write(f"[{level}] {text}\n")
        if isinstance(status, Connected):
            public = exposure(status.info.public_url, self._config)
            if public:
                write(f"[{WARNING}] {public}\n")

    def note(self, line: str) -> None:
        streams.complain(line)


class JsonView:
    """One JSON object per line for each status."""

    def __init__(self, name: str) -> None:
        self._name = name

    def show(self, status: TunnelStatus) -> None:
        write(f"{json.dumps(status_to_json(self._name, status, pid=os.getpid()))}\n")

    def note(self, line: str) -> None:
        streams.complain(line)


def write(text: str) -> None:
    """Print; a full disk or a closed pipe does not close the tunnel."""
    try:
        streams.write(text)
    except OSError:
        streams.give_up()


def describe(status: TunnelStatus, config: TunnelConfig) -> tuple[str, str]:
    """The level and the text of a status: printable, possibly several lines."""
    level, text = _describe(status, config)
    return level, printable_lines(text)


def _describe(status: TunnelStatus, config: TunnelConfig) -> tuple[str, str]:
    most = config.reconnect.max_attempts
    match status:
        case Idle():
            return INFO, "Tunnel idle"
        case Connecting(attempt):
            again = f" (attempt {of_attempts(attempt, most)})" if attempt else ""
            return INFO, f"Connecting {config.backend} -> {local(config)}{again}"
        case Connected(info):
            return INFO, f"Tunnel connected: {info.public_url} -> {local(config)}"
        case Reconnecting(attempt, reason, retry_in):
            follows = f"attempt {of_attempts(attempt, most)} in {retry_in:.1f} s"
            return WARNING, f"Not connected, {follows}: {reason}"
        case Stopped():
            return INFO, "Tunnel stopped"
        case Failed(message):
            return ERROR, f"Tunnel error: {message}"


def exposure(url: str, config: TunnelConfig) -> str:
    """A warning that the URL is public; empty for a URL that only this machine can reach."""
    if _is_private(urlsplit(url).hostname or ""):
        return ""
    return f"this is PUBLIC: anyone with the URL can reach {local(config)}"


def _is_private(host: str) -> bool:
    """Whether only this machine can use the address.

    `is_loopback` alone is not enough: a connection to 0.0.0.0 reaches this machine, but a server
    that gives it as its address accepts connections from every network.
    """
    address = ip(host)
    return is_loopback(host) and (address is None or not address.is_unspecified)


@contextlib.contextmanager
def show_warnings(view: View, secrets: Iterable[str]) -> Iterator[None]:
    """Show warnings and errors of the log in the view, with the secrets masked."""
    handler = _ViewHandler(view, secrets)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class _ViewHandler(logging.Handler):
    def __init__(self, view: View, secrets: Iterable[str]) -> None:
        super().__init__(logging.WARNING)
        self._view = view
        redact = Redactor(secrets)
        self.setFormatter(PrintableFormatter("[%(levelname)s] %(message)s", redact=redact))

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("[WARNING]", f"[{WARNING}]", 1)

    def emit(self, record: logging.LogRecord) -> None:
        self._view.note(self.format(record))
