"""How long a program may take to end: as long as it was granted, and no longer."""

from __future__ import annotations

import signal

import anyio
import pytest

from prx_tunnel_core.errors import ProgramExited
from prx_tunnel_core.process import open_process
from support.proc import program, starts

pytestmark = pytest.mark.anyio


async def test_a_program_that_drains_within_its_grace_is_not_cut_short() -> None:
    """0.8 s under thirty; the patience after a second signal is half a second, whatever it is."""
    command = program("on:TERM,sleep:0.8+print:drained+exit:7", "print:up", "hang")
    async with open_process(command, grace=30) as process:
        await process.first_match(starts("up"))
    assert (process.returncode, process.tail[-1]) == (7, "drained")


@pytest.mark.parametrize(("seconds", "code"), [(0.2, 7), (1.5, -signal.SIGKILL)])
async def test_after_a_second_signal_there_is_half_a_second(seconds: float, code: int) -> None:
    command = program(f"on:TERM,sleep:{seconds}+exit:7", "ignore:INT", "print:up", "hang")
    signals = (signal.SIGINT, signal.SIGTERM)
    async with open_process(command, grace=0.1, stop_signals=signals) as process:
        await process.first_match(starts("up"))
        begun = anyio.current_time()
    assert process.returncode == code
    assert anyio.current_time() - begun < 1.4


@pytest.mark.parametrize(("number", "is_cut"), [(300, False), (301, True)])
async def test_of_a_line_an_error_shows_three_hundred_characters(number: int, is_cut: bool) -> None:
    with pytest.raises(ProgramExited) as caught:
        async with open_process(program(f"print:{'x' * number}", "exit:1")) as process:
            await process.first_match(starts("y"))
    assert str(caught.value).endswith(f": {'x' * 300}{'...' if is_cut else ''}")


async def test_of_what_it_said_an_error_shows_five_lines_and_fifty_are_kept() -> None:
    command = program(*(f"print:line {number}" for number in range(60)), "print: ", "exit:1")
    with pytest.raises(ProgramExited) as caught:
        async with open_process(command) as process:
            await process.first_match(starts("y"))
    kept = [f"line {number}" for number in range(11, 60)]
    assert caught.value.tail == (*kept, " ")
    assert str(caught.value).endswith(f": {' | '.join(kept[-5:])}")
