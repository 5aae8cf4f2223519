"""The status, health and address of a tunnel: frozen values, safe to keep, compare and `match`.

match tunnel.status:
    case Connected(info):
        print(info.public_url)
    case Reconnecting(attempt, reason, retry_in):
        print(f"attempt {attempt} in {retry_in:.0f} s: {reason}")
    case Failed(message):
        print(message)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

Verdict: TypeAlias = Literal["ok", "fail", "unknown"]
HealthVerdict: TypeAlias = Literal["healthy", "degraded", "unhealthy"]

LONGEST_DURATION = 1e9  # seconds in an answer that can be believed

_HEADER_NAME = re.compile(
    r"[a-z0-9!#$%&'*+.^`|~-]+"
)  # RFC 9110's token, as `header_name` writes it


def header_name(name: str | bytes) -> str:
    """The form in which header names are compared: lower case, with `-` for `_` (as in WSGI)."""
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    return text.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class VisitorHeaders:
    """The headers that a backend sets on every request that comes through its tunnel.

    It replaces what the visitor sent under these names, so a request without any of `always` did
    not come through the tunnel. Names are stored in lower case.

    Raises TypeError or ValueError for an invalid name.

        VisitorHeaders(always=("x-forwarded-for", "x-forwarded-host"), address="x-forwarded-for")
    """

    always: tuple[str, ...]
    """Names of which every request has at least one."""
    address: str = ""
    """The header whose last item is the visitor's address; "" where there is none."""

    def __post_init__(self) -> None:
        # With a name that no request can have, every visitor would count as a local client.
        given: object = self.always
        if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
            raise TypeError(f'always: {given!r} is not a tuple of names; write ("x-my-proxy",)')
        object.__setattr__(self, "always", tuple(_header("always", name) for name in given))
        address = self.address and _header("address", self.address)
        object.__setattr__(self, "address", address)


def _header(key: str, name: object) -> str:
    if not isinstance(name, str | bytes):
        raise TypeError(f"{key}: {name!r} is not a header name; write it as a str")
    text = header_name(name)
    if not _HEADER_NAME.fullmatch(text):
        raise ValueError(f'{key}: {name!r} is not a header name; write it as in "x-my-proxy"')
    return text


@dataclass(frozen=True, slots=True)
class TunnelInfo:
    """A connection that is up."""

    public_url: str
    """`scheme://host[:port]`, normalised."""
    backend: str
    """The backend's name, as in `tunnel.backend`."""
    local_port: int
    started_at: datetime
    """When this connection came up (UTC)."""
    details: Mapping[str, str] = field(default_factory=dict, compare=False)
    """For people: edge location, protocol, the address of an inspector…"""
    visitor_headers: VisitorHeaders | None = field(default=None, compare=False)
    """What tells visitors from local clients; None where nothing does (a raw TCP tunnel)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))
        if not isinstance(self.visitor_headers, VisitorHeaders | None):
            raise TypeError(f"visitor_headers: {self.visitor_headers!r} is not a VisitorHeaders")


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. Use `unknown` where nothing certain can be said.

    Check("edge", "fail", "no connection to the edge for 90 s")
    """

    name: str
    verdict: Verdict
    detail: str = ""
    """The reason, for people, on one line."""


@dataclass(frozen=True, slots=True)
class TunnelHealth:
    """The result of one health check.

    `unhealthy` means that connecting anew may help, `degraded` that it cannot or that nothing has
    confirmed the tunnel from outside.
    """

    verdict: HealthVerdict
    checks: tuple[Check, ...] = ()
    latency: float | None = None
    """Seconds that one request to the public URL took; None when none was answered."""
    checked_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def check(self, name: str) -> Check | None:
        """The check of that name; None when it was not made."""
        return next((check for check in self.checks if check.name == name), None)


@dataclass(frozen=True, slots=True)
class Idle:
    """Never started."""


@dataclass(frozen=True, slots=True)
class Connecting:
    """An attempt is being made."""

    attempt: int = 0
    """Attempts since the last connection, beginning with 0."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The public URL leads to the local port."""

    info: TunnelInfo
    attempt: int = 0
    """The attempt that succeeded."""


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection dropped or an attempt failed, and nothing is running.

    The next attempt begins `retry_in` seconds after this status. `reason` is for people.
    """

    attempt: int
    reason: str
    retry_in: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """Stopped on request; can be started again."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Given up, for the reason in `message`; can be started again."""

    message: str


TunnelStatus: TypeAlias = Idle | Connecting | Connected | Reconnecting | Stopped | Failed


def state_of(status: TunnelStatus) -> str:
    """The status's name in JSON: `idle`, `connecting`, …; `error` for `Failed`."""
    match status:
        case Idle():
            return "idle"
        case Connecting():
            return "connecting"
        case Connected():
            return "connected"
        case Reconnecting():
            return "reconnecting"
        case Stopped():
            return "stopped"
        case Failed():
            return "error"


def describe(status: TunnelStatus) -> str:
    """The status as one line of a log."""
    match status:
        case Connected(info):
            return f"connected: {info.public_url} -> port {info.local_port}"
        case Reconnecting(attempt, reason, retry_in):
            return f"reconnecting, attempt {attempt} in {retry_in:.1f} s: {reason}"
        case Failed(message):
            return f"error: {message}"
        case Connecting(attempt) if attempt:
            return f"connecting, attempt {attempt}"
        case _:
            return state_of(status)


def status_to_json(name: str, status: TunnelStatus, *, pid: int) -> dict[str, object]:
    """The object that `prx tunnel status --json` prints and the control socket returns."""
    wire: dict[str, object] = {
        "name": name,
        "state": state_of(status),
        "info": None,
        "attempt": 0,
        "message": "",
        "pid": pid,
    }
    match status:
        case Connecting(attempt):
            wire["attempt"] = attempt
        case Connected(info, attempt):
            wire["attempt"] = attempt
            wire["info"] = {
                "public_url": info.public_url,
                "backend": info.backend,
                "local_port": info.local_port,
                "started_at": info.started_at.isoformat(),
            }
            wire["details"] = dict(info.details)
            if info.visitor_headers is not None:
                wire["visitor_headers"] = asdict(info.visitor_headers)
        case Reconnecting(attempt, reason, retry_in):
            wire |= {"attempt": attempt, "message": reason, "retry_in": round(retry_in, 3)}
        case Failed(message):
            wire["message"] = message
        case Idle() | Stopped():
            pass
    return wire


def status_from_json(wire: Mapping[str, Any]) -> TunnelStatus:
    """The status that `status_to_json` wrote.

    Raises KeyError, TypeError or ValueError for anything else.
    """
    match wire["state"]:
        case "idle":
            return Idle()
        case "connecting":
            return Connecting(wire["attempt"])
        case "connected":
            return Connected(_info_from_json(wire), wire["attempt"])
        case "reconnecting":
            return Reconnecting(wire["attempt"], wire["message"], _seconds(wire["retry_in"]))
        case "stopped":
            return Stopped()
        case "error":
            return Failed(wire["message"])
        case _:
            raise ValueError("not a state of a tunnel")


def _info_from_json(wire: Mapping[str, Any]) -> TunnelInfo:
    info, headers = wire["info"], wire.get("visitor_headers")
    return TunnelInfo(
        public_url=info["public_url"],
        backend=info["backend"],
        local_port=info["local_port"],
        started_at=datetime.fromisoformat(info["started_at"]),
        details=wire.get("details", {}),
        visitor_headers=headers
        and VisitorHeaders(always=tuple(headers["always"]), address=headers["address"]),
    )


def health_to_json(health: TunnelHealth) -> dict[str, object]:
    """The object that `prx tunnel health --json` prints and the control socket returns."""
    return {
        "verdict": health.verdict,
        "checks": [
            {"name": check.name, "verdict": check.verdict, "detail": check.detail}
            for check in health.checks
        ],
        "latency": health.latency,
        "checked_at": health.checked_at.isoformat(),
    }


def health_from_json(wire: Mapping[str, Any]) -> TunnelHealth:
    """The health that `health_to_json` wrote.

    Raises KeyError, TypeError or ValueError for anything else.
    """
    if wire["verdict"] not in get_args(HealthVerdict):
        raise ValueError("not a verdict on a tunnel")
    latency = wire["latency"]
    return TunnelHealth(
        verdict=wire["verdict"],
        checks=tuple(_check_from_json(check) for check in wire["checks"]),
        latency=None if latency is None else _seconds(latency),
        checked_at=datetime.fromisoformat(wire["checked_at"]),
    )


def _check_from_json(wire: Mapping[str, Any]) -> Check:
    check = Check(**wire)
    if check.verdict not in get_args(Verdict):
        raise ValueError("not a verdict of a check")
    texts: list[object] = [check.name, check.detail]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("the name or the detail of a check is not text")
    return check


def _seconds(value: Any) -> float:
    if not (isinstance(value, int | float) and 0 <= value <= LONGEST_DURATION):  # NaN fails, too
        raise ValueError("not a duration")
    return float(value)
