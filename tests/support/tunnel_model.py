"""What a tunnel must do at every moment, told by a model that knows nothing of how it is made.

The model counts what is open at the provider, keeps what the host last asked for, and computes
attempts and delays by its own formula. What does not hold is noted and ends the script: raised
inside of the supervisor, it would only be one more defect that the supervisor survives.
"""

# mypy: disable-error-code="comparison-overlap, exhaustive-match"
from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum

import trio

from prx_tunnel_core import (
    Check,
    Connected,
    Connecting,
    Failed,
    Idle,
    Reconnecting,
    Stopped,
    TunnelStatus,
)
from support.memory import FakeProber, Memory
from support.virtual import Recorded

CONNECT_TIMEOUT = 20.0
INTERVAL = 10.0
FAILURES = 3
MAX_ATTEMPTS = 3
BASE, LONGEST = 2.0, 6.0
STABLE = 30.0
SUSPENDED = 5.0
BACK_ONLINE = 1.0  # seconds until a network is noticed
ROUNDING = 1e-6


class Invariant(StrEnum):
    ONE = "at most one live connection"
    WANTED = "no attempt while down is wanted"
    LEGAL = "only legal transitions"
    IMMEDIATE = "stop without a connection is immediate"
    STOPPED = "stop returns when nothing is open"
    STOP_WINS = "stop wins"
    SETUP = "a SetupError is never retried"
    PATIENCE = "no disconnect before N failures in a row"
    ACTS = "N failures in a row disconnect"
    URL = "a URL is shown while it is up, and only then"
    START = "start returns what is connected, or why nothing is"
    HOLDS_NOTHING = "Reconnecting, Stopped and Failed hold no connection"
    BOUNDED = "Connecting is bounded in time"
    NO_DEADLINE = "a connection has no deadline"
    ATTEMPTS = "attempts are counted since the tunnel was stable"
    LAST = "the last attempt is the last"
    DELAY = "the delay doubles up to its maximum, half of it random"
    FLOOR = "a provider's own limit is the least delay"
    DUE = "an attempt comes when it is due"
    OFFLINE = "what fails while this machine is offline does not count"


class Broken(AssertionError):
    """An invariant does not hold: its name, and how."""


LEGAL: dict[type[TunnelStatus], set[type[TunnelStatus]]] = {
    Idle: {Connecting},
    Connecting: {Connected, Reconnecting, Failed, Stopped},
    Connected: {Reconnecting, Failed, Stopped},
    Reconnecting: {Connecting, Stopped},
    Stopped: {Connecting},
    Failed: {Connecting, Stopped},
}

asked_by_host: ContextVar[bool] = ContextVar("asked_by_host", default=False)


class ModelProber(FakeProber):
    """Counts, apart from the supervisor, how many of its checks in a row have failed."""

    def __init__(self) -> None:
        super().__init__()
        self.row = 0
        self.asked_at = 0.0
        self.suspended = 0.0
        """Seconds that the machine has been suspended in all; with `seen`, those known before."""
        self.seen = 0.0

    def asleep(self) -> float:
        return self.suspended

    def connected(self) -> None:
        self.row, self.seen = 0, self.suspended

    async def public(self, url: str, *, connected_for: float) -> tuple[Check, float | None]:
        check = self.public_verdict
        if not asked_by_host.get():
            woken, self.seen = self.suspended - self.seen > SUSPENDED, self.suspended
            self.asked_at = trio.current_time()
            if check.verdict == "ok":
                self.row = 0
            elif check.verdict == "fail":
                self.row += not woken
        return check, 0.01


@dataclass
class Model:
    memory: Memory
    prober: ModelProber
    jitter: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Cancelled when an invariant is broken."""
    broken: str = ""
    wanted: bool = False
    online: bool = True
    online_since: float = 0.0
    limits: dict[str, float] = field(default_factory=dict)
    """What the provider said of when to come back, by the words of its error."""
    since: float = 0.0
    """When the present status began."""
    failures: int = 0
    """How often it has become Failed."""
    climbed: int = 0
    delay: float = 0.0
    due: float = 0.0
    closing: float = 0.0
    """Seconds that the rest of a dropped connection takes, before the delay begins."""
    planned_offline: bool = False
    suspended_before: float = 0.0
    attempts_when_setup_failed: int | None = None

    def attach(self, tunnel: Recorded) -> None:
        self.tunnel = tunnel
        tunnel.on_change = self.changed

    def must(self, holds: bool, invariant: Invariant, detail: object = "") -> None:
        if not holds and not self.broken:
            self.broken = f"{invariant}: {detail or self.tunnel.status}"
            self.scope.cancel()

    def verdict(self) -> None:
        if self.broken:
            raise Broken(self.broken)

    @property
    def idle(self) -> bool:
        return not self.memory.open and not self.memory.opening

    def changed(self, old: TunnelStatus, new: TunnelStatus) -> None:
        self.must(type(new) in LEGAL[type(old)], Invariant.LEGAL, f"{old} -> {new}")
        self.must((self.tunnel.info is not None) == isinstance(new, Connected), Invariant.URL)
        self.must(self.memory.most_open <= 1, Invariant.ONE)
        self._left(old, new)
        self.since = trio.current_time()
        match new:
            case Connecting():
                self._connecting(begins=not isinstance(old, Reconnecting))
            case Connected(info):
                self.prober.connected()
                self.must(self._up() == [info.public_url], Invariant.URL, self._up())
            case Reconnecting(attempt, reason, retry_in):
                self._reconnecting(attempt, reason, retry_in)
            case Failed(message):
                self._failed(message)

    def _left(self, old: TunnelStatus, new: TunnelStatus) -> None:
        now = trio.current_time()
        if isinstance(old, Connecting):
            self._bounded()
        if isinstance(old, Connected):
            late = "not connected within" in str(new)
            self.must(not late, Invariant.NO_DEADLINE, new)
            unhealthy = "health checks" in str(new)
            if unhealthy:
                self.must(self.prober.row >= FAILURES, Invariant.PATIENCE, new)
                self.must(self.prober.row <= FAILURES, Invariant.ACTS, new)
            lasted = (self.prober.asked_at if unhealthy else now) - self.since
            if lasted >= max(STABLE, 2 * self.delay):
                self.climbed, self.delay = 0, 0.0

    def _connecting(self, *, begins: bool) -> None:
        self.must(self.wanted, Invariant.WANTED)
        if begins:
            self.climbed, self.delay = 0, 0.0
            self.attempts_when_setup_failed = None
            return
        woken = self.prober.suspended - self.suspended_before > SUSPENDED
        early = self.online if self.planned_offline else woken
        now = trio.current_time()
        self.must(early or now >= self.due - ROUNDING, Invariant.DUE, f"{now} before {self.due}")

    def _reconnecting(self, attempt: int, reason: str, retry_in: float) -> None:
        held = self._up() or self.memory.opening
        self.must(not held, Invariant.HOLDS_NOTHING, reason)
        self.must("fix" not in reason, Invariant.SETUP, reason)
        offline = reason.startswith("this machine is offline")
        self.must(offline != self.online, Invariant.OFFLINE, reason)
        counted = f"{attempt} after {self.climbed}"
        if offline:
            self.must(attempt == self.climbed, Invariant.OFFLINE, counted)
        else:
            self.climbed += 1
            self.must(attempt <= MAX_ATTEMPTS, Invariant.LAST, counted)
            self.must(attempt == self.climbed, Invariant.ATTEMPTS, counted)
        self._planned(attempt, reason, retry_in, offline=offline)

    def _planned(self, attempt: int, reason: str, delay: float, *, offline: bool) -> None:
        floor = max((s for words, s in self.limits.items() if reason.endswith(words)), default=0.0)
        self.must(delay >= floor, Invariant.FLOOR, f"{delay} for {reason}")
        ceiling = min(LONGEST, BASE * 2 ** max(attempt - 1, 0))
        expected = max(ceiling * (1 + self.jitter) / 2, floor, LONGEST if offline else 0.0)
        right = abs(delay - expected) < ROUNDING
        self.must(right, Invariant.DELAY, f"{delay} and not {expected} before attempt {attempt}")
        self.delay = delay
        self.due = trio.current_time() + delay
        self.closing = self.memory.teardown if self.memory.open else 0.0
        self.planned_offline = offline
        self.suspended_before = self.prober.suspended

    def _failed(self, message: str) -> None:
        self.failures += 1
        if "fix" not in message:
            self.must(message.startswith("gave up"), Invariant.LEGAL, message)
            self.must(self.climbed == MAX_ATTEMPTS, Invariant.LAST, f"{self.climbed}: {message}")

    def check(self) -> None:
        """What holds at every moment at which nothing is going on."""
        status = self.tunnel.status
        self.must(self.memory.most_open <= 1, Invariant.ONE)
        self.must((self.tunnel.info is not None) == isinstance(status, Connected), Invariant.URL)
        match status:
            case Connecting():
                self._bounded()
            case Connected(info):
                self.must(self._up() == [info.public_url], Invariant.URL, f"up: {self._up()}")
                leaving = all(each.closing for each in self.memory.open)
                self.must(leaving or self.prober.row < FAILURES, Invariant.ACTS, self.prober.row)
            case Reconnecting():
                self._comes_in_time()
            case Idle() | Stopped():
                self.must(self.idle, Invariant.HOLDS_NOTHING)
            case Failed():
                self.must(not self._up() and not self.memory.opening, Invariant.HOLDS_NOTHING)
        self._waits_for_a_fix(status)

    def _up(self) -> list[str]:
        return [each.public_url for each in self.memory.open if not each.dropped]

    def _bounded(self) -> None:
        lasted = trio.current_time() - self.since
        self.must(lasted <= CONNECT_TIMEOUT + ROUNDING, Invariant.BOUNDED, f"for {lasted} s")

    def _comes_in_time(self) -> None:
        due = self.due
        if self.planned_offline and self.online:
            due = min(due, max(self.online_since, self.since) + BACK_ONLINE)
        now, due = trio.current_time(), due + self.closing
        self.must(now <= due + ROUNDING, Invariant.DUE, f"{due} is over at {now}")

    def _waits_for_a_fix(self, status: TunnelStatus) -> None:
        if not isinstance(status, Failed) or "fix" not in status.message:
            self.attempts_when_setup_failed = None
        elif self.attempts_when_setup_failed is None:
            self.attempts_when_setup_failed = self.memory.attempts
        else:
            again = self.memory.attempts - self.attempts_when_setup_failed
            self.must(not again, Invariant.SETUP, f"{again} attempts more")
