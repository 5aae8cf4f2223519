"""The real supervisor under generated scripts, in virtual time, against a model of its own.

The model knows nothing of how the supervisor works: it counts what is open at the provider, keeps
what the host last asked for, and computes delays by its own formula.
"""

# mypy: disable-error-code="comparison-overlap, exhaustive-match"
from __future__ import annotations

import math
import os
from dataclasses import dataclass

import anyio
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prx_tunnel_core import (
    Check,
    Connected,
    ConnectError,
    Connecting,
    Failed,
    Idle,
    Reconnecting,
    SetupError,
    Stopped,
    TunnelError,
    TunnelStatus,
)
from support.memory import FakeProber, Memory
from support.virtual import Recorded, in_memory, virtual

SCRIPTS = int(os.environ.get("PRX_TUNNEL_SCRIPTS", "500"))

CONNECT_TIMEOUT = 20.0
INTERVAL = 10.0
FAILURES = 3
MAX_ATTEMPTS = 3
BASE, LONGEST = 2.0, 6.0

LEGAL: dict[type[TunnelStatus], set[type[TunnelStatus]]] = {
    Idle: {Connecting},
    Connecting: {Connected, Reconnecting, Failed, Stopped},
    Connected: {Reconnecting, Failed, Stopped},
    Reconnecting: {Connecting, Stopped},
    Stopped: {Connecting},
    Failed: {Connecting, Stopped},
}

seconds = st.sampled_from([0.0, 0.1, 1.0, 3.0, 11.0, 31.0, 70.0, 600.0])
operations = st.one_of(
    st.tuples(st.just("start"), st.just(0.0)),
    st.tuples(st.just("start and cancel"), seconds),
    st.tuples(st.just("stop"), st.just(0.0)),
    st.tuples(st.just("stop and cancel"), seconds),
    st.tuples(st.just("drop"), st.just(0.0)),
    st.tuples(st.just("freeze"), st.just(0.0)),
    st.tuples(st.just("blur"), st.just(0.0)),
    st.tuples(st.just("thaw"), st.just(0.0)),
    st.tuples(st.just("refuse"), st.sampled_from([1.0, 2.0, 5.0])),
    st.tuples(st.just("limit the rate"), seconds),
    st.tuples(st.just("need a fix"), st.just(0.0)),
    st.tuples(st.just("connect in"), st.sampled_from([0.0, 1.0, 19.0, 21.0, math.inf])),
    st.tuples(st.just("tear down in"), st.sampled_from([0.0, 1.0, 5.0])),
    st.tuples(st.just("check"), st.just(0.0)),
    st.tuples(st.just("wait"), seconds),
)


FLICKER = [("freeze", 0.0), ("wait", 11.0), ("thaw", 0.0), ("wait", 11.0)]


class ModelProber(FakeProber):
    """Counts, apart from the supervisor, how many checks in a row have failed."""

    def __init__(self) -> None:
        super().__init__()
        self.row = 0

    async def public(self, url: str, *, connected_for: float) -> tuple[Check, float | None]:
        check = self.public_verdict
        if check.verdict != "unknown":
            self.row = self.row + 1 if check.verdict == "fail" else 0
        return check, 0.01


@dataclass
class Model:
    memory: Memory
    prober: ModelProber
    tunnel: Recorded
    wanted: bool = False
    connecting_since: float = 0.0
    climbed: int = 0
    connected_at: float = 0.0
    delay: float = 0.0
    attempts_when_setup_failed: int | None = None

    def attach(self) -> None:
        self.tunnel.on_status = self.changed

    def changed(self, old: TunnelStatus, new: TunnelStatus) -> None:
        assert type(new) in LEGAL[type(old)], f"{old} -> {new}"
        assert (self.tunnel.info is not None) == isinstance(new, Connected)
        now = trio.current_time()
        if isinstance(old, Connecting):
            assert now - self.connecting_since <= CONNECT_TIMEOUT + 1e-6
        if isinstance(old, Connected):
            self.left_connection(now - self.connected_at)
            assert "not connected within" not in str(new), "a connection has no deadline"
        match new:
            case Connecting():
                assert self.wanted, "an attempt while down is wanted"
                self.connecting_since = now
                if isinstance(old, Idle | Stopped | Failed):
                    self.climbed, self.delay = 0, 0.0
                    self.attempts_when_setup_failed = None
            case Connected(info):
                self.connected_at = now
                self.prober.row = 0
                assert [c.public_url for c in self.memory.open if not c.dropped] == [
                    info.public_url
                ]
            case Reconnecting(attempt, reason, retry_in):
                self.reconnecting(attempt, reason, retry_in)
            case Failed(message):
                if "fix" not in message:
                    assert self.climbed == MAX_ATTEMPTS, "gave up too early"
            case Stopped() | Idle():
                pass

    def left_connection(self, lasted: float) -> None:
        if lasted >= max(30.0, 2 * self.delay):
            self.climbed, self.delay = 0, 0.0

    def reconnecting(self, attempt: int, reason: str, retry_in: float) -> None:
        assert all(connection.dropped for connection in self.memory.open), "it holds a child"
        assert self.memory.opening == 0
        assert "fix" not in reason, "what needs a fix is not retried"
        self.climbed += 1
        assert attempt == self.climbed <= MAX_ATTEMPTS
        ceiling = min(LONGEST, BASE * 2 ** (attempt - 1))
        if "rate" in reason:
            assert retry_in >= ceiling / 2
        else:
            assert ceiling / 2 - 1e-9 <= retry_in <= ceiling + 1e-9
        self.delay = retry_in
        if "health checks" in reason:
            assert self.prober.row >= FAILURES, "disconnected before enough failures"

    def check(self) -> None:
        """What holds at every moment."""
        assert self.memory.most_open <= 1
        status = self.tunnel.status
        assert (self.tunnel.info is not None) == isinstance(status, Connected)
        if isinstance(status, Stopped | Failed | Idle):
            assert self.memory.opening == 0
            assert self.memory.open == []
        if isinstance(status, Failed) and "fix" in status.message:
            if self.attempts_when_setup_failed is None:
                self.attempts_when_setup_failed = self.memory.attempts
            assert self.memory.attempts == self.attempts_when_setup_failed
        else:
            self.attempts_when_setup_failed = None


async def play(model: Model, script: list[tuple[str, float]]) -> None:
    tunnel, memory, prober = model.tunnel, model.memory, model.prober

    async def start(limit: float = math.inf) -> None:
        try:
            with trio.move_on_after(limit) as scope:
                info = await tunnel.start()
                assert info.public_url
            if scope.cancelled_caught and isinstance(tunnel.status, Stopped | Failed | Idle):
                model.wanted = False
        except TunnelError:
            pass

    async def stop(limit: float = math.inf) -> None:
        model.wanted = False
        idle = not memory.open and not memory.opening
        begun = trio.current_time()
        with trio.move_on_after(limit) as scope:
            await tunnel.stop()
        if idle:
            assert trio.current_time() == begun, "nothing was running, and stopping took time"
        if not scope.cancelled_caught:
            assert memory.open == []

    async with tunnel, anyio.create_task_group() as tasks:
        for operation, number in script:
            match operation:
                case "start":
                    model.wanted = True
                    tasks.start_soon(start)
                case "start and cancel":
                    model.wanted = True
                    await start(number)
                case "stop":
                    await stop()
                case "stop and cancel":
                    await stop(number)
                case "drop":
                    for connection in memory.open:
                        connection.drop()
                case "freeze":
                    prober.public_verdict = Check("public", "fail", "frozen")
                case "blur":
                    prober.public_verdict = Check("public", "unknown")
                case "thaw":
                    prober.public_verdict = Check("public", "ok")
                case "refuse":
                    memory.errors += [ConnectError("refused")] * int(number)
                case "limit the rate":
                    memory.errors.append(ConnectError("rate limited", retry_after=number))
                case "need a fix":
                    memory.errors.append(SetupError("fix the token"))
                case "connect in":
                    memory.delay = number
                case "tear down in":
                    memory.teardown = number
                case "check":
                    await tunnel.health_check()
                case "wait":
                    await anyio.sleep(number)
            await trio.testing.wait_all_tasks_blocked()
            model.check()
        memory.teardown = 0.0
        await stop()
        tasks.cancel_scope.cancel()
    assert memory.open == []
    assert memory.opening == 0


@settings(
    max_examples=SCRIPTS, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(
    script=st.lists(operations, min_size=3, max_size=25), jitter=st.sampled_from([0.0, 0.5, 1.0])
)
@example(script=[("start", 0), ("freeze", 0), ("wait", 70.0)], jitter=0.5)
@example(script=[("need a fix", 0), ("start", 0), ("wait", 600.0), ("start", 0)], jitter=0.5)
@example(script=[("connect in", 21.0), ("start", 0), ("wait", 31.0)], jitter=0.5)
@example(script=[("start", 0), ("wait", 31.0)], jitter=0.5)
@example(script=[("start", 0), *FLICKER * 4], jitter=0.5)
@example(script=[("start", 0), *[("drop", 0), ("wait", 31.0)] * 6], jitter=1.0)
@example(script=[("tear down in", 5.0), ("start", 0), ("drop", 0), ("stop", 0)], jitter=1.0)
@example(
    script=[
        ("tear down in", 5.0),
        ("start", 0),
        ("stop and cancel", 0.1),
        ("start", 0),
        ("stop", 0),
    ],
    jitter=1.0,
)
def test_every_invariant_holds_under_every_script(
    script: list[tuple[str, float]], jitter: float
) -> None:
    @virtual
    async def run() -> None:
        memory, prober = Memory(), ModelProber()
        tunnel = in_memory(
            memory,
            prober=prober,
            jitter=jitter,
            connect_timeout=CONNECT_TIMEOUT,
            health_check_interval=INTERVAL,
            health_check_failures=FAILURES,
            reconnect={
                "max_attempts": MAX_ATTEMPTS,
                "backoff_base_ms": int(BASE * 1000),
                "backoff_max_ms": int(LONGEST * 1000),
            },
        )
        model = Model(memory, prober, tunnel)
        model.attach()
        await play(model, script)

    run()
