"""The log so far: the port of the metrics server, the connector, reasons of failures.

The state comes from the metrics server: the log is about the past, and its wording changes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from prx_tunnel_cloudflare.logline import LogLine, parse
from prx_tunnel_cloudflare.reasons import REFUSALS, Cause, Reason, classify

_METRICS = re.compile(r"Starting metrics server on 127\.0\.0\.1:([0-9]{1,5})/metrics")
_CONNECTOR = re.compile(r"Generated Connector ID: ([0-9a-f-]{36})")
_VERSION = re.compile(r"Version (\d{4}\.\d{1,2}\.\d{1,3})\b.*")
# Since release 2023.4.1; before: "Connection <uuid> registered …".
_REGISTERED = re.compile(r"Registered tunnel connection|Connection [0-9a-f-]{36} registered\b.*")
_COUNTED_ONCE = ("Register tunnel error from server side", "Serve tunnel error")


class Journal:
    """Fed with each line of cloudflared's output."""

    def __init__(self) -> None:
        self.metrics_port: int | None = None
        self.connector_id: str | None = None
        self.version: str | None = None
        self.registered: Mapping[str, str] | None = None
        """The fields of the latest registration: `location`, `protocol`…"""
        self.reason: Reason | None = None
        """The weightiest of what went wrong since the latest registration."""
        self.causes: Counter[Cause] = Counter()
        """How often since then; one event logs several lines and counts once."""
        self.milestones = 0
        """Grows when there is something new to look at, which saves fast polling."""
        self._stopping = False

    @property
    def refusals(self) -> int:
        """How many registrations were refused since one was accepted."""
        return sum(self.causes[cause] for cause in REFUSALS)

    def feed(self, text: str) -> None:
        line = parse(text)
        # What is logged while shutting down looks like failures, and is none.
        self._stopping |= line.message.startswith("Initiating graceful shutdown")
        if self._stopping:
            return
        if line.level == "info":
            self._learn(line)
        if (reason := classify(line)) is not None:
            self._remember(line, reason)

    def _learn(self, line: LogLine) -> None:
        """The first announcement counts: it precedes everything that a visitor can influence."""
        if self.metrics_port is None and (match := _METRICS.fullmatch(line.message)):
            self.metrics_port = int(match[1])
            self.milestones += 1
        elif self.connector_id is None and (match := _CONNECTOR.fullmatch(line.message)):
            self.connector_id = match[1]
        elif self.version is None and (match := _VERSION.fullmatch(line.message)):
            self.version = match[1]
        elif _REGISTERED.fullmatch(line.message):
            self.registered = line.fields
            self.reason = None
            self.causes.clear()
            self.milestones += 1

    def _remember(self, line: LogLine, reason: Reason) -> None:
        if line.message.startswith(_COUNTED_ONCE):
            self.causes[reason.cause] += 1
            self.milestones += reason.cause in REFUSALS
        if self.reason is None or self.reason.weight <= reason.weight:
            self.reason = reason
