"""A program that keeps the tunnel from coming up: missing, silent, ending, saying this and that."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from prx_tunnel_core.errors import ConnectError, ProgramNotFound
from prx_tunnel_core.testing._kit import Kit, say
from prx_tunnel_core.testing._place import Place
from prx_tunnel_core.testing._stand_in import StandIn

NOISE = (
    "For help see https://docs.stand-in.example/manual, or write to help@stand-in.example.",
    "inspect at http://127.0.0.1:4040 forwarding to http://localhost:3000",
    'ERR failed: Post "https://api.stand-in.example/tunnel": retrying',
)
LAST_WORDS = "the stand-in is sorry"


class Failing(Kit):
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
        assert not early, "it was connected before the program had said that the tunnel is up"

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
                with suppress(ConnectError):  # of one that has a time limit of its own
                    await self._fails()

    @pytest.mark.parametrize("code", ["0", "1"])
    async def test_a_program_that_ends_early_is_an_error(
        self, scripted: StandIn, code: str
    ) -> None:
        """One that may pass, for the program said nothing of what would have to be fixed."""
        scripted.does(*say(LAST_WORDS), ("exit", code))
        async with self.in_time("it waits for a program that has ended", scripted):
            with pytest.raises(ConnectError) as caught:
                await self._fails()
        assert LAST_WORDS in str(caught.value), "the error does not tell the program's last words"

    async def _fails(self) -> None:
        async with self.opened() as connection:
            pytest.fail(f"connected to {connection.public_url}, through nothing")
