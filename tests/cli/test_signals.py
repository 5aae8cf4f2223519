"""Signals that ask for a stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import anyio
import pytest

from prx_tunnel_core._cli.signals import StopSignals

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FOREVER = 20.0  # seconds: only a broken test waits this long


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {each: signal.getsignal(each) for each in STOP}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture
def other_thread() -> Iterator[None]:
    """One that takes the signals, for the main thread has blocked them when it is asked."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
        over.set()
        thread.join()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("number", STOP)
@pytest.mark.usefixtures("other_thread")
async def test_a_signal_that_does_not_interrupt_the_sleeping_loop_wakes_it(
    number: signal.Signals,
) -> None:
    stop = StopSignals()
    stop.install()
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    begun = time.monotonic()
    with anyio.fail_after(FOREVER):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop.wait)
            await anyio.wait_all_tasks_blocked()
            sending = threading.Timer(0.05, os.kill, (os.getpid(), number))
            sending.start()  # when the loop is asleep
    sending.join()
    assert time.monotonic() - begun < FOREVER / 2
    assert stop.requested
    assert signal.set_wakeup_fd(wakeup) == wakeup, "what was there before is there again"
