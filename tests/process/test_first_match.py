"""`first_match`: waiting for a line, and connections that end with the program."""

from __future__ import annotations

import anyio
import pytest

from prx_tunnel_core.errors import ProgramExited
from prx_tunnel_core.process import TunnelProcess, open_process
from support.proc import Gate, program, starts

pytestmark = pytest.mark.anyio


async def test_earlier_lines_are_looked_at_first() -> None:
    async with open_process(program("print:a 1", "print:a 2", "print:ready", "hang")) as process:
        await process.first_match(starts("ready"))
        assert await process.first_match(starts("a ")) == "1"
        assert await process.first_match(starts("a ")) == "1", "looking takes nothing away"


async def test_lines_are_looked_at_after_the_end_too() -> None:
    async with open_process(program("print:a 1", "exit:0")) as process:
        await process.wait()
        assert await process.first_match(starts("a ")) == "1"
        with pytest.raises(ProgramExited, match="exited with code 0"):
            await process.first_match(starts("b "))


async def test_two_wait_at_once_for_different_lines(gate: Gate) -> None:
    found: dict[str, str] = {}

    async def wait_for(process: TunnelProcess, start: str) -> None:
        found[start] = await process.first_match(starts(start))

    command = program("print:go", f"gate:{gate.path}", "print:a 1", "eprint:b 2", "hang")
    async with open_process(command) as process:
        await process.first_match(starts("go"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for, process, "a ")
            tasks.start_soon(wait_for, process, "b ")
            gate.open()
    assert found == {"a ": "1", "b ": "2"}


@pytest.mark.parametrize("error", [LookupError("bad"), SystemExit(3)])
@pytest.mark.parametrize("early", [True, False], ids=["in the tail", "in a new line"])
async def test_what_find_raises_is_raised_where_one_waits(
    gate: Gate, early: bool, error: BaseException
) -> None:
    def refuse(line: str) -> None:
        if line == "bad":
            raise error

    async with open_process(program("print:go", f"gate:{gate.path}", "print:bad", "hang")) as p:
        await p.first_match(starts("go"))
        if early:
            gate.open()
            await p.first_match(starts("bad"))
        gate.open()
        with pytest.raises(type(error)) as caught:
            await p.first_match(refuse)
        assert caught.value is error
        assert p.returncode is None, "the program is not to blame"
        assert await p.first_match(starts("bad")) == ""


async def test_one_that_gives_up_leaves_the_others_waiting(gate: Gate) -> None:
    command = program("print:go", f"gate:{gate.path}", "print:a 1", "hang")
    async with open_process(command) as process:
        await process.first_match(starts("go"))
        with anyio.move_on_after(0.01) as given_up:
            await process.first_match(starts("never"))
        assert given_up.cancelled_caught
        assert not process._output._waiters
        gate.open()
        assert await process.first_match(starts("a ")) == "1"


@pytest.mark.parametrize(
    ("step", "code", "reason"),
    [
        ("exit:1", 1, "exited with code 1: starting | bad token"),
        ("exit:0", 0, "exited with code 0: starting | bad token"),
        ("kill:SEGV", -11, "was ended by SIGSEGV: starting | bad token"),
        ("kill:KILL", -9, "was ended by SIGKILL: starting | bad token"),
    ],
)
async def test_b01_b02_b04_an_end_before_the_line_says_how_and_why(
    step: str, code: int, reason: str
) -> None:
    with pytest.raises(ProgramExited) as caught:
        async with open_process(program("eprint:starting", "eprint:bad token", step)) as process:
            await process.first_match(starts("https"))
    assert str(caught.value) == f"{process.name} {reason}"
    assert (caught.value.returncode, caught.value.tail) == (code, ("starting", "bad token"))
    assert process.exit_reason() == str(caught.value)


@pytest.mark.parametrize(("step", "code"), [("exit:0", 0), ("exit:3", 3), ("kill:TERM", -15)])
async def test_b03_b04_an_end_after_the_line_closes_the_connection(
    gate: Gate, step: str, code: int
) -> None:
    command = program("print:https://a.example.com", f"gate:{gate.path}", step)
    async with open_process(command) as process:
        url = await process.first_match(lambda line: line)
        connection = process.connection(url, details={"edge": "here"})
        assert (connection.public_url, connection.details) == (url, {"edge": "here"})
        assert list(await connection.check()) == []
        gate.open()
        assert await connection.wait_closed() == process.exit_reason()
        assert process.returncode == code == await process.wait()


async def test_b18_a_line_and_the_end_at_once_are_both_seen() -> None:
    async with open_process(program("print:https://a.example.com", "exit:1")) as process:
        assert await process.first_match(starts("https")) == "://a.example.com"
        assert await process.wait() == 1


async def test_a_running_program_has_no_reason_to_have_ended() -> None:
    async with open_process(program("print:up", "hang")) as process:
        await process.first_match(starts("up"))
        assert process.exit_reason() == f"{process.name} is running: up"
