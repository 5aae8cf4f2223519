"""A program that is up: it floods, ends, dies, freezes, will not end, has children."""

from __future__ import annotations

import signal

import anyio
import pytest

from prx_tunnel_core._health import ask_provider
from prx_tunnel_core.testing._kit import Kit, gone, say
from prx_tunnel_core.testing._opening import PROVIDER
from prx_tunnel_core.testing._stand_in import StandIn

FLOOD = "512"  # kibibytes: eight times what a pipe holds


class Living(Kit):
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
