"""The agent's log as a state machine: reads lines, independent of processes.

Run with `--log stdout --log-format json`, the agent writes an object per line, and fatal errors as
plain text besides. The log is the only truthful account of the tunnel's state: the agent's local
API goes on listing a tunnel for as long as its session is lost.

What counts is `msg`, never the order or `obj`, which differ between versions.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from prx_tunnel_core.backend import Target
from prx_tunnel_core.urls import DEFAULT_PORTS, UrlRule
from prx_tunnel_ngrok.reasons import Refusal, refusal_in, words

PUBLIC_URL = UrlRule(
    schemes=("https",),
    not_hosts=(
        "ngrok.com",
        "www.ngrok.com",
        "dashboard.ngrok.com",
        "api.ngrok.com",
        "connect.ngrok-agent.com",
    ),
)
OUR_TUNNEL = "command_line"  # what the agent calls the tunnel that its arguments ask for
PLAIN_LINES = 40
ERROR_LINES = ("ERROR:", "Incorrect Usage:")
DIFFERENT_ERRORS = 50
LAST_WORDS = 5  # of plain lines when none is marked as an error: a page of help may precede them

Fields = Mapping[str, Any]


class AgentLog:
    """The state of one agent, read from its log lines.

    `now` is a monotonic clock in seconds. The public URL is the first that is announced for our
    target: later announcements were requested by another program, through the local API.
    """

    def __init__(self, target: Target, now: Callable[[], float]) -> None:
        self._target = target
        self._now = now
        self.url: str | None = None
        self.session = False
        self.lost_at: float | None = None
        self.losses = 0
        self._errors: Counter[str] = Counter()
        self.refusal: Refusal | None = None
        """The current refusal by ngrok's service, if any."""
        self.refused_at: float | None = None
        self.fatal = ""
        self.inspector: str | None = None
        self.stopped_remotely = False
        self.unreachable_target = ""
        """The last visitor's request for which nothing answered on the local port."""
        self.plain: deque[str] = deque(maxlen=PLAIN_LINES)
        self._handlers: dict[str, Callable[[Fields], None]] = {
            "starting web service": self._web_service,
            "client session established": self._established,
            "started tunnel": self._announced,
            "session closed, starting reconnect loop": self._lost,
            "failed to auth": self._failed,
            "failed to reconnect session": self._failed,
            "session closing": self._failed,
            "terminating with error": self._failed,
            "command failed": self._command_failed,
            "received remote stop": self._remote_stop,
            "failed to open private leg": self._target_down,
        }

    @property
    def connected(self) -> bool:
        """Whether visitors reach the agent: it has a session, and its tunnel was announced."""
        return self.session and self.url is not None

    @property
    def error(self) -> str:
        """Why there is no session: the error that the agent logged most often.

        Between its tries the agent looks for other ways to ngrok, and their errors mislead.
        """
        return next((text for text, _ in self._errors.most_common(1)), "")

    def feed(self, line: str) -> bool:
        """Read one line; return whether it was about the tunnel."""
        fields = _fields(line)
        if fields is None:
            if line.strip():
                self.plain.append(line.strip())
            return False
        handler = self._handlers.get(str(fields.get("msg")))
        if handler is None:
            return False
        handler(fields)
        return True

    def death(self) -> str:
        """Why the agent ended: its fatal error, else its plain lines."""
        if self.stopped_remotely:
            return "the agent was stopped from ngrok's dashboard"
        errors = [line for line in self.plain if line.startswith(ERROR_LINES)]
        return self.fatal or "\n".join(errors or list(self.plain)[-LAST_WORDS:])

    def _web_service(self, fields: Fields) -> None:
        self.inspector = _text(fields, "addr") or None

    def _established(self, _: Fields) -> None:
        """Also after a loss; no new `started tunnel` follows, the URL stays."""
        self.session = True
        self.lost_at = self.refused_at = self.refusal = None
        self._errors.clear()

    def _announced(self, fields: Fields) -> None:
        if self.url is None and fields.get("name") == OUR_TUNNEL and self._is_our_target(fields):
            try:
                self.url = PUBLIC_URL.accept(_text(fields, "url"))
            except ValueError:
                return

    def _is_our_target(self, fields: Fields) -> bool:
        try:
            parts = urlsplit(_text(fields, "addr"))
            port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        except ValueError:
            return False
        return port == self._target.port

    def _lost(self, fields: Fields) -> None:
        if self.session:
            self.losses += 1
            self.lost_at = self._now()
        self.session = False
        self._note(_error(fields))

    def _failed(self, fields: Fields) -> None:
        text = _error(fields)
        if not text:
            return  # "session closing", because we said so
        self.session = False
        if self.url is not None and self.lost_at is None:
            self.lost_at = self._now()
        self._note(text)
        self.refusal = refusal_in(text)
        if self.refusal is None:
            self.refused_at = None
        elif self.refused_at is None:
            self.refused_at = self._now()

    def _note(self, error: str) -> None:
        text = words(error)
        if text and (text in self._errors or len(self._errors) < DIFFERENT_ERRORS):
            self._errors[text] += 1

    def _command_failed(self, fields: Fields) -> None:
        self._failed(fields)
        self.fatal = _error(fields) or self.fatal

    def _remote_stop(self, _: Fields) -> None:
        self.stopped_remotely = True

    def _target_down(self, fields: Fields) -> None:
        self.unreachable_target = words(_error(fields))


def _fields(line: str) -> Fields | None:
    """The object of a log line; None for plain text."""
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(fields: Fields, key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def _error(fields: Fields) -> str:
    """The field `err`; the agent writes `"<nil>"` for none."""
    text = _text(fields, "err").strip()
    return "" if text in ("<nil>", "nil") else text
