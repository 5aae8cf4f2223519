"""The real supervisor under generated scripts, in virtual time, against a model of its own.

`python tests/mutations.py` shows that each invariant of the model is one that can fail.
"""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from unittest import mock

import anyio
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prx_tunnel_core import Check, ConnectError, Idle, SetupError, Stopped, TunnelError
from prx_tunnel_core._supervisor import suspend
from prx_tunnel_core.models import Failed
from support import tunnel_model as told
from support.memory import Memory
from support.tunnel_model import Invariant, Model, ModelProber, asked_by_host
from support.virtual import Recorded, in_memory, virtual

SCRIPTS = int(os.environ.get("PRX_TUNNEL_SCRIPTS", "500"))
FOR_EVER = 100.0  # seconds; no teardown takes so long

Script: TypeAlias = list[tuple[str, float]]

seconds = st.sampled_from([0.0, 0.1, 1.0, 3.0, 11.0, 31.0, 70.0, 600.0])
numbers: dict[str, st.SearchStrategy[float]] = {
    "start": st.just(0.0),
    "start and cancel": seconds,
    "stop": st.just(0.0),
    "stop and cancel": seconds,
    "drop": st.just(0.0),
    "drop for good": st.just(0.0),
    "freeze": st.just(0.0),
    "blur": st.just(0.0),
    "thaw": st.just(0.0),
    "refuse": st.sampled_from([1.0, 2.0, 5.0]),
    "limit the rate": seconds,
    "need a fix": st.just(0.0),
    "connect in": st.sampled_from([0.0, 1.0, 19.0, 21.0, math.inf]),
    "tear down in": st.sampled_from([0.0, 1.0, 5.0]),
    "go offline": st.just(0.0),
    "come online": st.just(0.0),
    "suspend": st.sampled_from([1.0, 3600.0]),
    "check": st.just(0.0),
    "wait": seconds,
}
OFTEN = ["start", "start", "drop", "wait", "wait", "wait"]  # else little happens
one_operation = st.sampled_from([*numbers, *OFTEN]).flatmap(
    lambda name: st.tuples(st.just(name), numbers[name]).map(lambda operation: [operation])
)

START: Script = [("start", 0.0)]
FAILING: Script = [("freeze", 0.0), ("wait", 11.0)]
WELL: Script = [("thaw", 0.0), ("wait", 11.0)]
UNKNOWN: Script = [("blur", 0.0), ("wait", 11.0)]
WOKEN: Script = [("suspend", 3600.0), ("wait", 3.0), ("wait", 3.0)]
FLAP: Script = [("drop", 0.0), ("wait", 11.0)]
CLOSING: Script = [("tear down in", 5.0), ("drop", 0.0)]
GIVING_UP: Script = [("tear down in", 5.0), ("drop for good", 0.0)]
STOPPING: Script = [("tear down in", 5.0), ("stop and cancel", 0.1)]
OFFLINE: Script = [("go offline", 0.0), ("drop", 0.0), ("wait", 1.0)]
BACK: Script = [("come online", 0.0), ("wait", 3.0)]
LONG_DELAY: Script = [("limit the rate", 70.0), ("drop", 0.0), ("wait", 3.0), ("wait", 70.0)]
scenes = st.sampled_from([
    START, FAILING, WELL, UNKNOWN, WOKEN, FLAP, CLOSING, GIVING_UP, STOPPING, OFFLINE, BACK,
    LONG_DELAY,
])  # fmt: skip
scripts: st.SearchStrategy[Script] = st.lists(
    st.one_of(one_operation, scenes), min_size=3, max_size=25
).map(lambda parts: [operation for part in parts for operation in part])


class Player:
    """Does what a script says: what a host asks for, and what happens to the tunnel."""

    def __init__(self, tunnel: Recorded, model: Model, tasks: anyio.abc.TaskGroup) -> None:
        self.tunnel = tunnel
        self.model = model
        self.memory = model.memory
        self.prober = model.prober
        self.tasks = tasks

    async def do(self, operation: str, number: float) -> None:
        act: Callable[[float], Awaitable[None]] = getattr(self, operation.replace(" ", "_"))
        await act(number)
        await trio.testing.wait_all_tasks_blocked()
        self.model.check()

    async def start(self, _: float = 0.0) -> None:
        self.model.wanted = True
        self.tasks.start_soon(self._start)

    async def start_and_cancel(self, limit: float) -> None:
        self.model.wanted = True
        with trio.move_on_after(limit) as scope:
            await self._start()
        if scope.cancelled_caught and isinstance(self.tunnel.status, Stopped | Failed | Idle):
            self.model.wanted = False

    async def _start(self) -> None:
        failures = self.model.failures
        try:
            info = await self.tunnel.start()
        except (SetupError, ConnectError) as error:
            self.model.must(self.model.failures > failures, Invariant.START, f"old news: {error}")
        except TunnelError:  # stopped meanwhile
            pass
        else:
            self.model.must(self.tunnel.info == info, Invariant.START, info)

    async def stop(self, _: float = 0.0) -> None:
        await self.stop_and_cancel(math.inf)

    async def stop_and_cancel(self, limit: float) -> None:
        model, begun = self.model, trio.current_time()
        model.wanted, idle = False, model.idle
        with trio.move_on_after(min(limit, FOR_EVER)) as scope:
            await self.tunnel.stop()
        if idle:
            model.must(trio.current_time() == begun, Invariant.IMMEDIATE)
        if not scope.cancelled_caught:
            model.must(model.idle, Invariant.STOPPED)
            stopped = isinstance(self.tunnel.status, Stopped | Idle)
            model.must(stopped, Invariant.STOP_WINS)
        elif limit > FOR_EVER:
            model.must(False, Invariant.STOPPED, "it does not return")

    async def drop(self, _: float) -> None:
        self._drop("dropped")

    async def drop_for_good(self, _: float) -> None:
        self._drop(SetupError("fix the account"))

    def _drop(self, reason: str | Exception) -> None:
        for connection in self.memory.open:
            if not connection.closing:
                connection.drop(reason)

    async def freeze(self, _: float) -> None:
        self.prober.public_verdict = Check("public", "fail", "frozen")

    async def blur(self, _: float) -> None:
        self.prober.public_verdict = Check("public", "unknown")

    async def thaw(self, _: float) -> None:
        self.prober.public_verdict = Check("public", "ok")

    async def refuse(self, times: float) -> None:
        self.memory.errors += [ConnectError("refused")] * int(times)

    async def limit_the_rate(self, limit: float) -> None:
        words = f"come back in {limit:g} s"
        self.model.limits[words] = limit
        self.memory.errors.append(ConnectError(words, retry_after=limit))

    async def need_a_fix(self, _: float) -> None:
        self.memory.errors.append(SetupError("fix the token"))

    async def connect_in(self, delay: float) -> None:
        self.memory.delay = delay

    async def tear_down_in(self, delay: float) -> None:
        self.memory.teardown = delay

    async def go_offline(self, _: float) -> None:
        self.model.online = False

    async def come_online(self, _: float) -> None:
        self.model.online, self.model.online_since = True, trio.current_time()

    async def suspend(self, duration: float) -> None:
        self.prober.suspended += duration

    async def check(self, _: float) -> None:
        token = asked_by_host.set(True)
        await self.tunnel.health_check()
        asked_by_host.reset(token)

    async def wait(self, duration: float) -> None:
        await anyio.sleep(duration)


async def play(tunnel: Recorded, model: Model, script: Script) -> None:
    async with tunnel, anyio.create_task_group() as tasks:
        player = Player(tunnel, model, tasks)
        for operation, number in script:
            await player.do(operation, number)
        model.memory.teardown = 0.0
        await player.stop()
        tasks.cancel_scope.cancel()
    model.must(model.idle, Invariant.STOPPED, "the tunnel's context was left")


def tunnel_for(model: Model) -> Recorded:
    return in_memory(
        model.memory,
        prober=model.prober,
        jitter=model.jitter,
        online=lambda: model.online,
        connect_timeout=told.CONNECT_TIMEOUT,
        health_check_interval=told.INTERVAL,
        health_check_failures=told.FAILURES,
        reconnect={
            "max_attempts": told.MAX_ATTEMPTS,
            "backoff_base_ms": int(told.BASE * 1000),
            "backoff_max_ms": int(told.LONGEST * 1000),
        },
    )


@pytest.mark.timeout(60 + SCRIPTS)  # a few milliseconds each, on a machine that is not busy
@settings(
    max_examples=SCRIPTS, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(script=scripts, jitter=st.sampled_from([0.0, 0.5, 1.0]))
@example(script=[("need a fix", 0), *START, ("wait", 600.0), *START], jitter=0.5)
@example(script=[("connect in", 21.0), *START, ("wait", 31.0)], jitter=0.5)
@example(script=[*START, ("wait", 31.0)], jitter=0.5)
@example(script=[*START, *FAILING * 7], jitter=0.5)
@example(script=[*START, *(FAILING + WELL) * 4], jitter=0.5)
@example(script=[*START, *FAILING * 2, *UNKNOWN, *FAILING], jitter=0.5)
@example(script=[*START, *FAILING * 2, *WOKEN, *FAILING], jitter=0.5)
@example(script=[*START, *FLAP * 6], jitter=1.0)
@example(script=[*START, *LONG_DELAY, ("wait", 70.0), *FLAP], jitter=0.0)
@example(script=[*START, *OFFLINE, *BACK], jitter=1.0)
@example(script=[*START, *CLOSING, ("stop", 0)], jitter=1.0)
@example(script=[*START, ("tear down in", 5.0), *OFFLINE, *BACK, ("stop", 0)], jitter=1.0)
@example(script=[*START, *GIVING_UP, *START, ("wait", 11.0)], jitter=1.0)
@example(script=[*START, *GIVING_UP, ("stop", 0)], jitter=1.0)
@example(script=[*START, *STOPPING, *START, ("stop", 0)], jitter=1.0)
def test_every_invariant_holds_under_every_script(script: Script, jitter: float) -> None:
    model = Model(Memory(), ModelProber(), jitter)

    @virtual
    async def run() -> None:
        tunnel = tunnel_for(model)
        model.attach(tunnel)
        with model.scope:
            await play(tunnel, model, script)

    with mock.patch.object(suspend, "asleep", model.prober.asleep):
        try:
            run()
        finally:
            model.verdict()  # whatever it led to
