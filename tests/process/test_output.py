"""The output of a program is read whole, whatever it prints and however it prints it."""

from __future__ import annotations

import logging
import os
import time

import anyio
import anyio.lowlevel
import pytest

from prx_tunnel_core.process import open_process
from prx_tunnel_core.process._output import LINES_AT_ONCE, LONGEST_LINE, TAIL, Reader
from prx_tunnel_core.text import Redactor
from support.proc import Gate, alive, memory, program, starts

pytestmark = pytest.mark.anyio

URL = "https://abc.example.com"


def hexed(text: bytes) -> str:
    return "raw:" + text.hex()


@pytest.mark.parametrize("stream", ["print", "eprint"])
async def test_b15_both_streams_are_read(stream: str) -> None:
    async with open_process(program(f"{stream}:{URL}", "hang")) as process:
        assert await process.first_match(starts("https:")) == "//abc.example.com"


async def test_b07_a_line_split_over_two_writes_is_one(gate: Gate) -> None:
    lines: list[str] = []
    steps = ("eprint:go", "raw:" + b"https://abc.exa".hex(), f"gate:{gate.path}")
    command = program(*steps, hexed(b"mple.com\n"), "hang")
    async with open_process(command, on_line=lines.append) as process:
        await process.first_match(starts("go"))
        assert "https" not in "".join(lines)
        gate.open()
        assert await process.first_match(starts("https")) == "://abc.example.com"


async def test_b07_the_last_line_needs_no_line_end() -> None:
    async with open_process(program(hexed(URL.encode()), "exit:0")) as process:
        assert await process.first_match(starts("https")) == "://abc.example.com"
        assert await process.wait() == 0


async def test_b11_a_line_of_10_mb_is_cut_and_what_follows_is_read() -> None:
    async with open_process(program("longline:10", hexed(b"\nnext\n"), "hang")) as process:
        await process.first_match(starts("next"))
        first = process.tail[0]
    assert first.endswith("x [...]")
    assert len(first) <= LONGEST_LINE
    assert list(process.tail)[1:] == ["next"]


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"\xff\xfehello\xc3\n", "\ufffd\ufffdhello\ufffd"),
        (b"\x1b[1;32mINF\x1b[0m https://a.example.com\r\n", "INF https://a.example.com"),
        (
            b"\x1b]8;;https://evil.example.com\x1b\\https://a.example.com\x1b]8;;\x1b\\\n",
            "https://a.example.com",
        ),
        (b"10%\r50%\r100% https://a.example.com\n", "100% https://a.example.com"),
        (b"a\x00b\x07c\n", "abc"),
    ],
    ids=["invalid UTF-8", "colours", "hyperlink", "progress bar", "controls"],
)
async def test_b12_lines_are_what_a_terminal_would_show(raw: bytes, line: str) -> None:
    async with open_process(program(hexed(raw), "exit:0")) as process:
        await process.wait()
    assert list(process.tail) == [line]


@pytest.mark.parametrize(
    "raw",
    [
        b"at https://a.example.com\rdone                      \n",
        b"https://a.example.com\r|\r/\r-\r",
        b"...\rhttps://a.example.com\r\n",
    ],
    ids=["overwritten", "a spinner without end", "after a return"],
)
async def test_a_url_is_found_although_its_line_is_redrawn(raw: bytes) -> None:
    async with open_process(program(hexed(raw), "hang")) as process:
        found = await process.first_match(lambda line: line if "https" in line else None)
        assert found.endswith("https://a.example.com")


async def test_b14_the_program_is_read_although_nobody_waits(gate: Gate) -> None:
    command = program(f"print:{URL}", f"gate:{gate.path}", "flood:1", "print:still here", "hang")
    async with open_process(command) as process:
        await process.first_match(starts("https"))
        gate.open()
        await process.first_match(starts("still here"))
        assert alive(process.pid)


@pytest.mark.parametrize("listener", [False, True], ids=["nobody", "a listener"])
async def test_b10_a_flood_stalls_neither_program_nor_loop_nor_memory(listener: bool) -> None:
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            begun = time.perf_counter()
            await anyio.sleep(0.001)
            worst = max(worst, time.perf_counter() - begun)

    heard = 0

    def count(_: str) -> None:
        nonlocal heard
        heard += 1

    size = 4 if listener else 200  # megabytes; each line costs when somebody listens
    command = program(f"flood:{size}", "exit:0")
    before = memory()
    async with open_process(command, on_line=count if listener else None) as process:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            assert await process.wait() == 0
            tasks.cancel_scope.cancel()
        assert process.tail[-1].startswith("all work")
    assert memory() - before < 8 << 20
    assert worst < 0.25  # a hundredth of it on a machine with nothing else to do
    assert bool(heard) == listener


async def test_b10_others_have_their_turn_between_many_short_lines() -> None:
    """One read may return 32 768 lines."""
    since_turn = longest = 0

    def count(_: str) -> None:
        nonlocal since_turn, longest
        since_turn += 1
        longest = max(longest, since_turn)

    async def turns() -> None:
        nonlocal since_turn
        while True:
            since_turn = 0
            await anyio.lowlevel.checkpoint()

    reader = Reader("program", Redactor(), count)
    readable, writable = os.pipe()
    os.write(writable, b"y\n" * 30_000)
    os.close(writable)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns)
        await reader.drain(readable)
        tasks.cancel_scope.cancel()
    os.close(readable)
    assert 0 < longest <= 2 * LINES_AT_ONCE


async def test_the_tail_is_bounded_and_ends_with_the_last_line() -> None:
    numbers = b"".join(b"%d\n" % number for number in range(500))
    async with open_process(program(hexed(numbers), "exit:0")) as process:
        await process.wait()
    assert list(process.tail) == [str(number) for number in range(500 - TAIL, 500)]


@pytest.mark.parametrize("error", [ValueError, SystemExit])
async def test_a_raising_listener_harms_nothing(
    caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    def refuse(line: str) -> None:
        raise error(line)

    async with open_process(program("flood:0.1", "print:end", "hang"), on_line=refuse) as process:
        await process.first_match(starts("end"))
    failures = [record for record in caplog.records if record.exc_info]
    assert 0 < len(failures) <= 250, "told, but not once for each of the 2500 lines"


async def test_a_flood_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "prx_tunnel_core.program")
    listener = program("flood:0.5", "print:end", "hang")
    async with open_process(listener, on_line=lambda _: None) as process:
        await process.first_match(starts("end"))
    assert 200 <= len(caplog.records) < 1000


async def test_b19_a_question_on_stdin_gets_no_answer_instead_of_waiting() -> None:
    async with open_process(program("prompt:password?", "hang")) as process:
        assert await process.first_match(starts("answer: ")) == "b''"


async def test_b09_closed_streams_are_no_end_and_cost_nothing() -> None:
    async with open_process(program("print:up", "closeout", "hang")) as process:
        await process.first_match(starts("up"))
        await process._output.drained.wait()
        begun, used = time.monotonic(), time.process_time()
        await anyio.sleep(0.2)
        assert process.returncode is None
        # A loop around a pipe that has ended would use all of the time.
        assert time.process_time() - used < 0.5 * (time.monotonic() - begun)
