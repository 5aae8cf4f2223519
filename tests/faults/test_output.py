"""B: whatever a program says, and however, its URL is found and nothing stalls."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

from prx_tunnel_core import Connected, ConnectError, Reconnecting
from prx_tunnel_core.process._output import TAIL
from support.faults import FOR_EVER, UP, URL, Programs, both_loops, raw, starting
from support.proc import Gate, alive, memory, program, starts, until
from support.tunnel_scenarios import reached

pytestmark = pytest.mark.anyio

SECRET = "canary/4f+9c1e 7d=x"


async def url_of(*steps: str) -> str:
    async with Programs(program(*steps)).tunnel() as tunnel:
        return (await tunnel.start()).public_url


@both_loops
async def test_b05_it_never_prints_a_url() -> None:
    programs = Programs(program("print:connecting", "hang"))
    begun = anyio.current_time()
    async with starting(programs.tunnel(connect_timeout=0.2, reconnect=FOR_EVER)) as statuses:
        lost = await reached(statuses, Reconnecting)
        assert "not connected within 0.2 s" in lost.reason
        assert "said: connecting" in lost.reason
        assert anyio.current_time() - begun < 0.2 + 0.3 + 0.5
        assert not alive(programs.started[0].pid)


async def test_b06_the_time_to_connect_is_not_the_time_between_two_bytes() -> None:
    drip = [step for byte in URL.encode() for step in (raw(bytes([byte])), "sleep:0.05")]
    programs = Programs(program(*drip, "hang"))
    async with programs.tunnel(connect_timeout=0.3, reconnect={"enabled": False}) as tunnel:
        with pytest.raises(ConnectError, match=r"not connected within 0\.3 s"):
            await tunnel.start()


@both_loops
async def test_b07_a_url_in_two_writes_is_announced_when_it_is_whole(gate: Gate) -> None:
    begun, rest = raw(URL[:20].encode()), raw(URL[20:].encode() + b"\n")
    programs = Programs(program(begun, f"gate:{gate.path}", rest, "hang"))
    async with programs.tunnel() as tunnel, anyio.create_task_group() as tasks:
        tasks.start_soon(tunnel.start)
        with anyio.move_on_after(0.1):
            await reached(tunnel.watch(), Connected)
        assert tunnel.info is None
        gate.open()
        await tunnel.start()


async def test_b07_a_url_without_a_line_end_counts_when_the_program_ends() -> None:
    programs = Programs(program(raw(URL.encode()), "exit:0"), program(*UP))
    async with starting(programs.tunnel()) as statuses:
        assert (await reached(statuses, Connected)).info.public_url == URL
        assert (await reached(statuses, Reconnecting)).attempt == 1


@both_loops
async def test_b09_closed_streams_are_no_end_and_cost_nothing() -> None:
    async with Programs(program(UP[0], "closeout", "hang")).tunnel() as tunnel:
        await tunnel.start()
        begun, used = time.monotonic(), time.process_time()
        await anyio.sleep(0.2)
        assert isinstance(tunnel.status, Connected)
        # A loop around a pipe that has ended would use all of the time.
        assert time.process_time() - used < 0.5 * (time.monotonic() - begun)


@both_loops
async def test_b10_a_flood_stalls_neither_loop_nor_memory_nor_log(
    gate: Gate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    dry = tmp_path / "dry"
    steps = (f"gate:{gate.path}", "flood:200", f"touch:{dry}", "hang")
    programs = Programs(program(UP[0], *steps))
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            begun = time.perf_counter()
            await anyio.sleep(0.001)
            worst = max(worst, time.perf_counter() - begun)

    async with programs.tunnel() as tunnel, anyio.create_task_group() as tasks:
        await tunnel.start()
        before = memory()
        tasks.start_soon(tick)
        gate.open()
        await until(dry.exists)  # a listener would cost for each line
        assert memory() - before < 8 << 20
        assert len(programs.latest.tail) <= TAIL
        tasks.cancel_scope.cancel()
    assert worst < 0.25  # a hundredth of it on a machine with nothing else to do
    assert len(caplog.records) < 50


async def test_b11_a_line_of_10_mb_is_cut_and_what_follows_is_a_line() -> None:
    evil = b" https://evil.example.com\n"
    programs = Programs(program("longline:10", raw(evil), *UP))
    async with programs.tunnel() as tunnel:
        assert (await tunnel.start()).public_url == URL
        assert programs.latest.tail[0].endswith("x [...]")


@pytest.mark.parametrize(
    "printed",
    [
        b"\xff\xfe %s \xc3\n",
        b"\x00%s\x00\n",
        b"\x1b[1;32mINF\x1b[0m \x1b[4m%s\x1b[0m\r\n",
        b"\x1b]8;;https://evil.example.com\x1b\\%s\x1b]8;;\x1b\\\n",
        b"10%%\r50%%\r100%% %s\n",
        b"\x07%s\x07\n",
    ],
    ids=["invalid UTF-8", "NUL", "colours", "hyperlink", "progress bar", "bell"],
)
async def test_b12_the_url_stands_in_what_a_terminal_would_show(printed: bytes) -> None:
    assert await url_of(raw(printed % URL.encode()), "hang") == URL


async def test_b12_no_escape_reaches_a_terminal() -> None:
    programs = Programs(program(raw(b"\x1b]0;owned\x07\x1b[2J\x1b[31mbad\n"), "exit:1"))
    async with programs.tunnel(reconnect={"enabled": False}) as tunnel:
        with pytest.raises(ConnectError, match=r"code 1: bad$") as caught:
            await tunnel.start()
    assert str(caught.value).isprintable()


@both_loops
async def test_b14_it_is_read_although_nobody_waits(gate: Gate) -> None:
    steps = ("flood:1", f"gate:{gate.path}", "print:still here", "hang")
    programs = Programs(program(UP[0], *steps))
    async with programs.tunnel() as tunnel:
        await tunnel.start()
        gate.open()
        await programs.latest.first_match(starts("still here"))
        assert isinstance(tunnel.status, Connected)


@pytest.mark.parametrize("stream", ["print", "eprint"])
async def test_b15_both_streams_are_read(stream: str) -> None:
    noise = ("eprint" if stream == "print" else "print") + ":noise"
    assert await url_of(noise, f"{stream}:{URL}", noise, "hang") == URL


async def test_b17_a_later_url_of_the_same_program_changes_nothing() -> None:
    steps = (UP[0], UP[0], "print:https://other.example.com", "print:all said", "hang")
    programs = Programs(program(*steps))
    async with programs.tunnel() as tunnel:
        statuses = tunnel.watch()
        await tunnel.start()
        await programs.latest.first_match(starts("all said"))
        assert tunnel.info is not None
        assert tunnel.info.public_url == URL
    assert [type(status).__name__ async for status in statuses] == [
        "Idle", "Connecting", "Connected", "Stopped",
    ]  # fmt: skip


async def test_b19_a_question_on_stdin_gets_no_answer_instead_of_waiting() -> None:
    programs = Programs(program("prompt:password?", "session", *UP))
    async with programs.tunnel() as tunnel:
        await tunnel.start()
        assert await programs.latest.first_match(starts("answer: ")) == "b''"
        assert await programs.latest.first_match(starts("leads=True"))  # so it has no terminal


@pytest.mark.parametrize("steps", [("exit:1",), ("hang",)], ids=["it ends", "it is given up"])
async def test_b20_a_secret_that_it_prints_is_nowhere(
    caplog: pytest.LogCaptureFixture, steps: Sequence[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    command = program("env:TOKEN", f"eprint:Your authtoken: {SECRET}", *steps)
    programs = Programs(command, env={"TOKEN": SecretStr(SECRET)})
    async with programs.tunnel(connect_timeout=0.3, reconnect={"enabled": False}) as tunnel:
        with pytest.raises(ConnectError, match=r"Your authtoken: \*\*\*\*") as caught:
            await tunnel.start()
        shown = f"{tunnel.status} {caught.value!r} {tunnel!r} {programs.latest.tail} {caplog.text}"
    assert "Your authtoken: ****" in caplog.text
    assert "4f+9c1e" not in shown
