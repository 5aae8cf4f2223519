from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from prx_tunnel_core._isolation import ForeignError, call_in_thread, contain, describe

pytestmark = pytest.mark.anyio


async def test_a_result_passes_through() -> None:
    async def call() -> int:
        await anyio.lowlevel.checkpoint()
        return 42

    assert await contain(call, deadline=60) == 42
    assert await call_in_thread(lambda: 42) == 42


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3), StopIteration("odd")])
async def test_what_is_raised_arrives_as_one_kind_of_error(error: BaseException) -> None:
    def raises() -> None:
        raise error

    async def call() -> None:
        raises()

    async def call_elsewhere() -> None:
        await call_in_thread(raises)

    for foreign in (call, call_elsewhere):
        with pytest.raises(ForeignError, match=type(error).__name__):
            await contain(foreign, deadline=60)


class Private(BaseException):
    pass


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), Private("boom")])
async def test_nothing_escapes_from_a_thread(error: BaseException) -> None:
    def call() -> None:
        raise error

    with pytest.raises(ForeignError, match=type(error).__name__) as caught:
        await call_in_thread(call)
    assert caught.value.__cause__ is error


async def test_an_exception_from_a_thread_is_itself() -> None:
    error = LookupError("boom")

    def call() -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        await call_in_thread(call)
    assert caught.value is error


async def test_the_callers_own_cancellation_is_not_swallowed() -> None:
    reached = False
    with anyio.CancelScope() as scope:
        scope.cancel()
        await contain(anyio.sleep_forever, deadline=60)
        reached = True
    assert scope.cancelled_caught
    assert not reached


async def test_a_deadline_abandons_the_thread() -> None:
    gate = threading.Event()
    threads: list[threading.Thread] = []

    def call() -> None:
        threads.append(threading.current_thread())
        gate.wait(60)

    with pytest.raises(ForeignError, match=r"did not return within 0\.05 s"):
        await contain(lambda: call_in_thread(call), deadline=0.05)
    assert threads[0].is_alive()
    gate.set()
    await anyio.to_thread.run_sync(threads[0].join, 60)
    assert not threads[0].is_alive()


def test_a_cancelled_future_does_not_cancel_the_caller() -> None:
    async def call() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async def main() -> None:
        with pytest.raises(ForeignError, match="was cancelled"):
            await contain(call, deadline=60)

    asyncio.run(main())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_thread_without_end_does_not_keep_the_process(backend: str) -> None:
    code = f"""
import anyio, threading
from prx_tunnel_core._isolation import ForeignError, call_in_thread, contain
async def main():
    try:
        await contain(lambda: call_in_thread(threading.Event().wait), deadline=0.05)
    except ForeignError as error:
        print(error)
anyio.run(main, backend={backend!r})
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert (result.stdout, result.stderr) == ("did not return within 0.05 s\n", "")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_thread_that_returns_after_the_loop_has_ended_is_silent(backend: str) -> None:
    code = f"""
import anyio, threading
from prx_tunnel_core._isolation import ForeignError, call_in_thread, contain
gate = threading.Event()
async def main():
    try:
        await contain(lambda: call_in_thread(gate.wait), deadline=0.05)
    except ForeignError as error:
        print(error)
anyio.run(main, backend={backend!r})
gate.set()
for thread in threading.enumerate():
    if thread is not threading.current_thread() and "foreign" in thread.name:
        thread.join(20)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert (result.stdout, result.stderr) == ("did not return within 0.05 s\n", "")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


def test_an_error_is_described_on_one_bounded_line() -> None:
    assert describe(ValueError("a\n  b\x1b[31m")) == "ValueError: a b"
    assert describe(ValueError()) == "ValueError"
    assert describe(Mute()) == "Mute: (an error that cannot be shown)"
    assert len(describe(ValueError("x" * 10_000))) < 400
