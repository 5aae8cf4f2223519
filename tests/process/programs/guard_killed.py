"""A host whose guard is killed between two programs; a new guard gets the orders of both."""

import os
import signal
import sys

import anyio

from prx_tunnel_core.process import open_process
from prx_tunnel_core.process._reaper import tokens
from support.proc import guard_pid, pid_of, program, say


async def main() -> None:
    polite = program(f"on:TERM,touch:{sys.argv[1]}+exit:0", "pid:first", "hang")
    # Without its token, it is only known by the number of its group.
    without_token = ["env", "-u", tokens.TOKEN_VARIABLE, *polite]
    async with open_process(without_token) as first:
        first_pid = await pid_of(first, "first")
        old = guard_pid()
        assert old is not None
        os.kill(old, signal.SIGKILL)
        os.waitid(os.P_PID, old, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
        async with open_process(program("pid:second", "hang")) as second:
            second_pid = await pid_of(second, "second")
            assert old != guard_pid()
            say(first_pid, second_pid, guard_pid())
            await anyio.sleep_forever()


anyio.run(main)
