"""Strays: one search serves all tasks that ask, so that a thousand ends cost one search."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from prx_tunnel_core.process import _spawn, open_process
from prx_tunnel_core.process._reaper import procfs, strays, sweep, tokens
from support.proc import alive, program, sleeper, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows an environment"),
]


@contextmanager
def carrier(*carried: str, **more: str) -> Iterator[int]:
    with sleeper(**more, **{tokens.TOKEN_VARIABLE: "".join(carried)}) as process:
        yield process.pid


async def test_one_look_serves_all_who_ask_before_it_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served: list[int] = []

    async def counting(tokens: set[bytes]) -> None:
        served.append(len(tokens))
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(strays, "_end_carriers", counting)
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(strays.end_strays, tokens.new_token())
    assert sum(served) == 100
    # All ask before the first of them takes its look, but for those whom trio's dice put later.
    assert len(served) <= 2


async def test_each_of_them_ends_what_is_its_own_and_nothing_else() -> None:
    mine, other, bystander = (tokens.new_token() for _ in range(3))
    with carrier(mine) as first, carrier("x.1;", other) as second, carrier(bystander) as third:
        await until(lambda: all(_has_begun(each) for each in (first, second, third)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(strays.end_strays, mine)
            tasks.start_soon(strays.end_strays, other)
        await until(lambda: not alive(first) and not alive(second))
        assert alive(third)


@pytest.mark.parametrize("error", [OSError(38, "not implemented"), PermissionError(1, "sandbox")])
async def test_without_pidfd_they_are_ended_by_their_ids(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int) -> int:
        raise error

    monkeypatch.setattr(os, "pidfd_open", refuse)
    token, other = tokens.new_token(), tokens.new_token()
    with carrier(token) as stray, carrier(other) as bystander:
        await until(lambda: _has_begun(stray) and _has_begun(bystander))
        await strays.end_strays(token)
        await until(lambda: not alive(stray))
        assert alive(bystander)


async def test_a_token_that_begins_like_another_is_another() -> None:
    token = tokens.new_token()
    with carrier(token.replace(";", "1;")) as longer:
        await until(lambda: _has_begun(longer))
        await strays.end_strays(token)
        assert alive(longer)


async def test_who_asks_while_a_look_is_taken_gets_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    early, late = tokens.new_token(), tokens.new_token()
    served: list[set[bytes]] = []
    begun, go_on = anyio.Event(), anyio.Event()

    async def slowly(tokens: set[bytes]) -> None:
        served.append(set(tokens))
        begun.set()
        await go_on.wait()

    monkeypatch.setattr(strays, "_end_carriers", slowly)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(strays.end_strays, early)
        await begun.wait()
        tasks.start_soon(strays.end_strays, late)
        await anyio.wait_all_tasks_blocked()
        assert len(served) == 1, "never two at a time"
        go_on.set()
    assert served == [{bare(early)}, {bare(late)}]


@pytest.mark.parametrize("begun", [True, False], ids=["in its look", "before its look"])
async def test_who_joined_is_served_when_the_look_is_cancelled(
    begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[set[bytes]] = []

    async def cancelled_once(tokens: set[bytes]) -> None:
        served.append(set(tokens))
        if begun and len(served) == 1:
            await anyio.sleep_forever()

    async def leads() -> None:
        with scope:
            await strays.end_strays(leader)

    monkeypatch.setattr(strays, "_end_carriers", cancelled_once)
    leader, joined, scope = tokens.new_token(), tokens.new_token(), anyio.CancelScope()
    looks = strays._searches_here()
    async with anyio.create_task_group() as tasks:
        await looks.turn.acquire()
        tasks.start_soon(leads)
        await until(lambda: bool(looks.next.tokens))
        tasks.start_soon(strays.end_strays, joined)
        await until(lambda: len(looks.next.tokens) == 2)
        if begun:
            looks.turn.release()
            await until(lambda: bool(served))
            scope.cancel()
        else:
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            looks.turn.release()
    assert served[-1] == {bare(joined)}


async def test_an_environment_of_any_length_is_read_whole() -> None:
    token = tokens.new_token()
    long = {f"V{number}": "x" * 100_000 for number in range(3)}
    with carrier(token, **long) as pid:
        await until(lambda: _has_begun(pid))
        await strays.end_strays(token)
        await until(lambda: not alive(pid))


@pytest.mark.parametrize("looked_at", ["between", "after"])
async def test_who_becomes_another_program_is_looked_at_again(
    looked_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During exec() a process has neither variables nor arguments."""
    token = tokens.new_token()
    environment, arguments = procfs.environment, procfs.arguments
    looks = 0

    def at_first_blank(pid: int) -> bytes | None:
        nonlocal looks
        looks += pid == carrying
        return b"" if pid == carrying and looks == 1 else environment(pid)

    def blank_then(pid: int) -> bytes:
        return b"" if pid == carrying and looked_at == "between" else arguments(pid)

    monkeypatch.setattr(sweep, "environment", at_first_blank)
    monkeypatch.setattr(sweep, "arguments", blank_then)
    with carrier(token) as carrying:
        await until(lambda: _has_begun(carrying))
        await strays.end_strays(token)
        await until(lambda: not alive(carrying))


async def test_a_program_without_variables_costs_no_second_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as a guard: it has arguments, so it is not in exec()."""
    pauses: list[float] = []
    sleep = anyio.sleep

    async def noting(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(anyio, "sleep", noting)
    with sleeper() as process:
        plain = process.pid
        await until(lambda: bool(procfs.arguments(plain)))
        monkeypatch.setattr(sweep, "processes", lambda: [plain])
        pauses.clear()
        await strays.end_strays(tokens.new_token())
    assert not pauses


async def test_others_get_their_turn_between_two_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0
    started: list[int] = []

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async def start() -> None:
        async with open_process(program("hang")):
            pass

    def noting(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(turns)
        return spawn(*arguments, **options)

    spawn = _spawn.spawn
    monkeypatch.setattr(_spawn, "spawn", noting)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count_turns)
        async with anyio.create_task_group() as starts:
            for _ in range(10):
                starts.start_soon(start)
        tasks.cancel_scope.cancel()
    # Within a turn, the one that counts may come before or after the one that starts.
    assert max(Counter(started).values()) <= 2


def bare(token: str) -> bytes:
    return token.rstrip(";").encode()


def _has_begun(pid: int) -> bool:
    """Whether it has its environment, which is empty during exec()."""
    return tokens.TOKEN_VARIABLE.encode() in (procfs.environment(pid) or b"")
