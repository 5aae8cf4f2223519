"""A line that has no end yet: shown to who looks for something, once nothing more comes of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
import trio
import trio.lowlevel
import trio.testing

from prx_tunnel_core.process import open_process, reading
from prx_tunnel_core.process.reading import BUFFER, SILENCE, Reader
from prx_tunnel_core.text import Redactor
from support.proc import program
from support.virtual import virtual

URL = "https://a.example.com"
ALMOST = 0.9 * SILENCE


def find(line: str) -> str | None:
    return next((word for word in line.split() if word.startswith("https:")), None)


class Stream:
    """A program's stream, and who reads it; in virtual time."""

    def __init__(self, pipe: int, reader: Reader) -> None:
        self.reader = reader
        self._pipe = pipe

    def say(self, text: str) -> None:
        os.write(self._pipe, text.encode())


@asynccontextmanager
async def stream(on_line: Callable[[str], None] | None = None) -> AsyncIterator[Stream]:
    reading_end, writing_end = os.pipe()
    os.set_blocking(reading_end, False)
    reader = Reader("program", Redactor(["hunter2"]), on_line)
    try:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(reader.drain, reading_end)
            yield Stream(writing_end, reader)
            tasks.cancel_scope.cancel()
    finally:
        os.close(reading_end)
        os.close(writing_end)


@virtual
async def test_it_is_looked_at_after_a_silence() -> None:
    async with stream() as program:
        waiter = program.reader.wait_for(find)
        program.say(f"open {URL}")
        await trio.sleep(ALMOST)
        assert waiter.found is None
        await trio.sleep(SILENCE - ALMOST)
        await waiter.done.wait()
        assert waiter.found == URL


@virtual
async def test_a_part_is_never_taken_while_more_comes() -> None:
    async with stream() as program:
        waiter = program.reader.wait_for(find)
        for letter in f"open {URL}":
            program.say(letter)
            await trio.sleep(ALMOST)
            assert waiter.found is None
        await waiter.done.wait()
        assert waiter.found == URL


@virtual
async def test_who_begins_to_look_later_finds_it_too() -> None:
    async with stream() as program:
        begun = trio.current_time()
        program.say(URL)
        await trio.sleep(ALMOST)
        early = program.reader.wait_for(find)
        assert early.found is None
        await early.done.wait()
        assert trio.current_time() - begun == pytest.approx(SILENCE)
        late = program.reader.wait_for(find)
        assert early.found == late.found == URL


@virtual
async def test_what_was_begun_is_forgotten_when_the_line_goes_on() -> None:
    async with stream() as program:
        program.say(f"{URL}/or")
        await trio.sleep(2 * SILENCE)
        program.say("-not\n")
        await trio.testing.wait_all_tasks_blocked()
        assert program.reader.wait_for(find).found == f"{URL}/or-not"


@virtual
async def test_a_line_that_stops_where_a_buffer_was_full_is_waited_for() -> None:
    async with stream() as program:
        waiter = program.reader.wait_for(find)
        program.say(f"{URL[:15]:>{BUFFER}}")
        await trio.sleep(1000 * SILENCE)
        assert waiter.found is None
        program.say(f"{URL[15:]} is where it is")
        await waiter.done.wait()
        assert waiter.found == URL


@virtual
async def test_an_overlong_line_is_never_looked_at() -> None:
    async with stream() as program:
        waiter = program.reader.wait_for(find)
        for _ in range(20):
            program.say(" " * BUFFER)
            await trio.testing.wait_all_tasks_blocked()
        program.say(URL)
        await trio.sleep(2 * SILENCE)
        assert waiter.found is None


@virtual
async def test_it_is_no_line_of_the_log_or_the_tail_before_it_ends() -> None:
    lines: list[str] = []
    seen: list[str] = []
    async with stream(on_line=lines.append) as program:
        program.reader.wait_for(seen.append)
        program.say("password: hunter2 ")
        await trio.sleep(2 * SILENCE)
        assert seen == ["password: ********** "]
        assert lines == list(program.reader.tail) == []
        program.say("ok\n")
        await trio.testing.wait_all_tasks_blocked()
        assert lines == list(program.reader.tail) == ["password: ********** ok"]


@virtual
async def test_nothing_wakes_up_while_nothing_is_pending() -> None:
    async def wakes_up() -> bool:
        await trio.testing.wait_all_tasks_blocked()
        return trio.lowlevel.current_statistics().seconds_to_next_deadline <= SILENCE

    async with stream() as program:
        for said, pending in (("a line\n", False), ("a line, and", True), (" more\n", False)):
            program.say(said)
            assert await wakes_up() is pending
        program.say("a question? ")
        await trio.sleep(2 * SILENCE)
        assert not await wakes_up(), "once for each silence"


@pytest.mark.anyio
async def test_a_program_that_leaves_the_cursor_behind_the_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "SILENCE", 0.05)
    with anyio.fail_after(20):
        command = program("raw:" + f"open {URL}".encode().hex(), "hang")
        async with open_process(command) as process:
            assert await process.first_match(find) == URL
