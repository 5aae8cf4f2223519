"""A host whose guard is stopped."""

import os
import signal

import anyio

from prx_tunnel_core.process import open_process
from prx_tunnel_core.process._reaper import guard
from support.proc import guard_pid, program, say, starts


async def main() -> None:
    guard.prepare()
    frozen = guard_pid()
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    for _ in range(10):
        async with open_process(program("print:up", "hang")) as process:
            await process.first_match(starts("up"))
    say(frozen)


anyio.run(main)
