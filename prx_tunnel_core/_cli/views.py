"""What a foreground `start` shows where nobody looks at a screen: plain lines, or JSON."""

from __future__ import annotations

import json
import os
from typing import Protocol

from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.render import WARNING, describe, exposure
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.models import Connected, Failed, TunnelStatus, status_to_json


class View(Protocol):
    def show(self, status: TunnelStatus) -> None: ...
    def note(self, line: str) -> None:
        """Something that is no status: a warning of the log."""
        ...


class PlainView:
    """A line for each transition. The reason of a failure goes to stderr, when all has ended."""

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
    """An object for each transition, a line each."""

    def __init__(self, name: str) -> None:
        self._name = name

    def show(self, status: TunnelStatus) -> None:
        write(f"{json.dumps(status_to_json(self._name, status, pid=os.getpid()))}\n")

    def note(self, line: str) -> None:
        streams.complain(line)


def write(text: str) -> None:
    """A full disk, or a reader that went away, is no reason to close the tunnel."""
    try:
        streams.write(text)
    except OSError:
        streams.give_up()
