"""Coming up, with nothing in the way; and being cancelled at any moment of it."""

from __future__ import annotations

import time
from typing import Any, NoReturn

import anyio
import anyio.lowlevel
import pytest

from prx_tunnel_core._health import ask_provider
from prx_tunnel_core.backend import Connection
from prx_tunnel_core.config import BackendConfig
from prx_tunnel_core.models import Check
from prx_tunnel_core.testing._kit import Kit, gone
from prx_tunnel_core.testing._stand_in import StandIn
from prx_tunnel_core.testing._steps import TunnelView
from prx_tunnel_core.urls import ANY_URL, leads_here

# Each await of one connection; of many, most are the same one in a loop.
AWAITS = (*range(1, 21), *range(21, 80, 6))
STALL = 0.2  # seconds that the event loop may stand still
PROVIDER = 0.5  # seconds for a backend's own word


class Opening(Kit):
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
        """After a drop core connects anew, with the same settings and in the same process."""
        async with (
            self.in_time("the tunnel did not come up twice", program_stand_in),
            self.far_end() as settings,
        ):
            config = self.read(settings)
            for _ in range(2):
                async with self.backend.connect(config, self.target) as connection:
                    ANY_URL.accept(connection.public_url)

    async def test_nothing_has_to_be_picklable(self, program_stand_in: StandIn) -> None:
        """Settings may hold what another process cannot be given."""
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
            for _ in range(3):  # a busy machine may stall us once or twice, a backend does always
                stalls.append(await self._longest_stall())
                if stalls[-1] < STALL:
                    return
        pytest.fail(f"the event loop stood still for {min(stalls):.2f} s each time")

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
                await TunnelView(once(), cancel)
            except Exception as error:  # whatever it is, it is no cancellation
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


def _unpicklable(config: BackendConfig) -> BackendConfig:
    def refuse(*_: Any) -> NoReturn:
        raise TypeError("settings cannot be pickled here")

    kind = type(config)
    changed: type[BackendConfig] = type(kind.__name__, (kind,), {"__reduce_ex__": refuse})
    return changed.model_construct(config.model_fields_set, **dict(config))
