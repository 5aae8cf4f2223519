"""Contract tests of the life of a connection: opening, cancelling, failing, running and ending."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Generic, NoReturn, TypeVar

import anyio
import anyio.lowlevel
import pytest

from prx_tunnel_core._health import ask_provider
from prx_tunnel_core.backend import Connection
from prx_tunnel_core.config import BackendConfig
from prx_tunnel_core.errors import ConnectError, ProgramNotFound
from prx_tunnel_core.models import Check
from prx_tunnel_core.testing._kit import Kit, Place, gone, say
from prx_tunnel_core.testing._stand_in import StandIn
from prx_tunnel_core.urls import ANY_URL, leads_here

T = TypeVar("T")

# Each await of one connection; of many, most are the same one in a loop.
AWAITS = (*range(1, 21), *range(21, 80, 6))
STALL = 0.2  # seconds that the event loop may be blocked
PROVIDER = 0.5  # seconds for a backend's `check`
FLOOD = "512"  # kibibytes: eight times what a pipe holds
NOISE = (
    "For help see https://docs.stand-in.example/manual, or write to help@stand-in.example.",
    "inspect at http://127.0.0.1:4040 forwarding to http://localhost:3000",
    'ERR failed: Post "https://api.stand-in.example/tunnel": retrying',
)
LAST_WORDS = "the stand-in is sorry"


class Lifecycle(Kit):
    # --- coming up, with nothing in the way ------------------------------------------------------

    async def test_it_comes_up(self, program_stand_in: StandIn) -> None:
        async with (
            self.in_time("the tunnel did not come up and close", program_stand_in),
            self.opened() as connection,
        ):
            assert isinstance(connection, Connection)
            url = connection.public_url
            assert ANY_URL.accept(url) == url
            assert not leads_here(url, self.target.port), (
                f"{url} is the local port, not a public URL"
            )
            assert not self.public_url or url == self.public_url
            assert all(isinstance(text, str) for text in connection.details.values())
            ran = bool(program_stand_in.runs)
        assert ran == self.runs_program, "`runs_program` does not say what it does"

    async def test_it_comes_up_again(self, program_stand_in: StandIn) -> None:
        """After a drop, core connects again with the same settings in the same process."""
        async with (
            self.in_time("the tunnel did not come up twice", program_stand_in),
            self.far_end() as settings,
        ):
            config = self.read(settings)
            for _ in range(2):
                async with self.backend.connect(config, self.target) as connection:
                    ANY_URL.accept(connection.public_url)

    async def test_nothing_has_to_be_picklable(self, program_stand_in: StandIn) -> None:
        """Settings may hold objects that cannot be sent to another process."""
        async with (
            self.in_time("the tunnel did not come up", program_stand_in),
            self.opened(_unpicklable) as connection,
        ):
            assert connection.public_url

    async def test_the_providers_word_is_usable(self, program_stand_in: StandIn) -> None:
        async with (
            self.in_time("check() did not return", program_stand_in),
            self.opened() as connection,
        ):
            said = list(await connection.check())
            verdict = (await ask_provider(connection, timeout=self.patience)).provider.verdict
        assert all(isinstance(each, Check) for each in said), f"these are no Checks: {said}"
        assert all(each.verdict in ("ok", "fail", "unknown") for each in said)
        assert verdict != "fail", f"the tunnel is up, and check() says {said}"

    async def test_the_event_loop_runs_on(self, program_stand_in: StandIn) -> None:
        async with self.in_time("the tunnel did not come up", program_stand_in):
            stalls: list[float] = []
            for _ in range(3):  # a busy machine may block it once or twice, a backend does always
                stalls.append(await self._longest_stall())
                if stalls[-1] < STALL:
                    return
        pytest.fail(f"the event loop was blocked for {min(stalls):.2f} s each time")

    @pytest.mark.usefixtures("hurry")
    async def test_cancelling_at_any_await_leaves_nothing(self, program_stand_in: StandIn) -> None:
        for number in AWAITS:
            async with self.in_time("a cancellation did not get through", program_stand_in):
                if not await self._cancelled_at(number):
                    return
            left = not await gone(program_stand_in, self.patience)
            assert not left, f"cancelled at await {number}, it left a program"

    async def _cancelled_at(self, number: int) -> bool:
        """Whether there was an await of that number."""

        async def once() -> None:
            async with self.opened():
                await anyio.lowlevel.checkpoint()

        def cancel(waits: int) -> None:
            if waits == number:
                scope.cancel()

        with anyio.CancelScope() as scope:
            try:
                await Stepped(once(), cancel)
            except Exception as error:  # not a cancellation
                if scope.cancel_called:
                    pytest.fail(f"the cancellation at await {number} became {error!r}")
                raise
        return scope.cancel_called

    async def _longest_stall(self) -> float:
        gaps: list[float] = []

        async def tick() -> None:
            before = time.perf_counter()
            while True:
                await anyio.sleep(0.002)
                now = time.perf_counter()
                gaps.append(now - before)
                before = now

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            await anyio.lowlevel.checkpoint()
            async with self.opened() as connection:
                await ask_provider(connection, timeout=self.patience)
            await anyio.sleep(0.004)  # so that the last stall has an end
            tasks.cancel_scope.cancel()
        return max(gaps)

    # --- a program that is missing, silent, or ends early ----------------------------------------

    async def test_no_url_before_the_tunnel_is_up(self, scripted: StandIn) -> None:
        noise = say(*NOISE, *self.announces[:-1])
        scripted.does(*noise, ("mark", "said"), ("gate", "gate"))
        up = anyio.Event()

        async def connect() -> None:
            async with self.opened():
                up.set()

        async with (
            self.in_time("the tunnel did not come up", scripted),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(connect)
            while not scripted.marked("said") and not up.is_set():
                await anyio.sleep(0.005)
            with anyio.move_on_after(self.settle):
                await up.wait()
            early = up.is_set()
            scripted.go_on("gate")
            await up.wait()
        assert not early, "it was connected before the program had said that the tunnel is open"

    async def test_a_missing_program_is_named(self, scripted: StandIn, place: Place) -> None:
        place.no_programs()
        async with self.in_time("it waits for a program that is not there", scripted):
            with pytest.raises(ProgramNotFound) as caught:
                await self._fails()
        assert (self.program or self.backend.program or "") in str(caught.value)
        assert self.backend.install_hint in str(caught.value), "the error has no install_hint"

    async def test_a_silent_program_is_no_tunnel(self, scripted: StandIn) -> None:
        scripted.does(("silence", ""))
        async with self.in_time("connecting cannot be cancelled", scripted):
            with anyio.move_on_after(2 * self.settle):
                with suppress(ConnectError):  # of a backend with a time limit
                    await self._fails()

    @pytest.mark.parametrize("code", ["0", "1"])
    async def test_a_program_that_ends_early_is_an_error(
        self, scripted: StandIn, code: str
    ) -> None:
        """A ConnectError, as the program named nothing that the user has to fix."""
        scripted.does(*say(LAST_WORDS), ("exit", code))
        async with self.in_time("it waits for a program that has ended", scripted):
            with pytest.raises(ConnectError) as caught:
                await self._fails()
        assert LAST_WORDS in str(caught.value), (
            "the error does not have the last lines of the program"
        )

    async def _fails(self) -> None:
        async with self.opened() as connection:
            pytest.fail(f"connected to {connection.public_url}, through nothing")

    # --- a program that floods, ends, is killed, stops, does not end, has children ---------------

    async def test_a_flood_does_not_stop_the_program(self, scripted: StandIn) -> None:
        scripted.does(("flood", FLOOD), after=[("flood", FLOOD), ("mark", "flooded")])
        async with self.in_time("the program could not go on writing", scripted), self.opened():
            scripted.go_on()
            while not scripted.marked("flooded"):
                await anyio.sleep(0.005)

    @pytest.mark.parametrize("code", ["0", "1"])
    async def test_its_end_is_told_with_a_reason(self, scripted: StandIn, code: str) -> None:
        scripted.does(after=[*say("the stand-in leaves"), ("exit", code)])
        async with (
            self.in_time("wait_closed() did not return", scripted),
            self.opened() as connection,
        ):
            scripted.go_on()
            reason = await connection.wait_closed()
        assert isinstance(reason, str)
        assert reason.strip(), "wait_closed() returned no reason"

    async def test_a_severed_connection_is_noticed(self, program_stand_in: StandIn) -> None:
        async with (
            self.in_time("wait_closed() did not return", program_stand_in),
            self.opened() as connection,
        ):
            if not await connection.abort():
                pytest.skip("this backend cannot break its own connection")
            assert (await connection.wait_closed()).strip()
            word = (await ask_provider(connection, timeout=PROVIDER)).provider
        assert word.verdict != "ok", f"the connection is broken, and check() says {word.detail!r}"

    @pytest.mark.usefixtures("hurry")
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
    async def test_health_tells_when_the_program_is_dead_or_frozen(
        self, scripted: StandIn, number: signal.Signals
    ) -> None:
        if number is signal.SIGSTOP and not self.program_carries_traffic:
            pytest.skip("this tunnel goes on while its program is frozen")
        async with self.in_time("check() did not return", scripted), self.opened() as connection:
            for run in scripted.alive():
                run.send(number)
            while any(run.works() for run in scripted.runs):
                await anyio.sleep(0.005)
            word = (await ask_provider(connection, timeout=PROVIDER)).provider
        assert word.verdict != "ok", f"after {number.name}, check() says {word.detail!r}"

    @pytest.mark.usefixtures("hurry")
    async def test_a_program_that_ignores_term_is_ended(self, scripted: StandIn) -> None:
        scripted.does(("ignore", "SIGTERM"))
        async with self.in_time("the program did not end", scripted), self.opened():
            pass
        assert await gone(scripted, self.patience), "the program outlived its connection"

    @pytest.mark.usefixtures("hurry")
    async def test_its_children_are_ended_too(self, scripted: StandIn) -> None:
        scripted.does(("child", ""))
        async with self.in_time("the tunnel did not close", scripted), self.opened():
            assert len(scripted.alive()) == 2, "the program and its child"
        assert await gone(scripted, self.patience), "a child of the program outlived the connection"


def _unpicklable(config: BackendConfig) -> BackendConfig:
    def refuse(*_: Any) -> NoReturn:
        raise TypeError("settings cannot be pickled here")

    kind = type(config)
    changed: type[BackendConfig] = type(kind.__name__, (kind,), {"__reduce_ex__": refuse})
    return changed.model_construct(config.model_fields_set, **dict(config))


class Stepped(Awaitable[T], Generic[T]):
    """Awaits the coroutine, and calls `on_wait(n)` when it is about to wait for the n-th time.

    On every event loop, a coroutine that waits is a generator that yields something to the loop.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], on_wait: Callable[[int], None]) -> None:
        self._coroutine = coroutine
        self._on_wait = on_wait

    def __await__(self) -> Generator[Any, Any, T]:
        waits = 0
        resume: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        while True:
            try:
                waited_for = resume(value)
            except StopIteration as end:
                result: T = end.value
                return result
            waits += 1
            self._on_wait(waits)
            try:
                value, resume = (yield waited_for), self._coroutine.send
            except BaseException as error:  # noqa: BLE001 - it is raised in the coroutine
                value, resume = error, self._coroutine.throw
