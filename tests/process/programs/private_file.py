"""A host with a private file and a program; with an argument, its guard is replaced."""

import os
import signal
import sys

import anyio

from prx_tunnel_core.process import open_process, private_file
from prx_tunnel_core.process._reaper import guard
from support.proc import guard_pid, pid_of, program, say


async def main() -> None:
    with private_file("config.json", "the-token") as path:
        async with open_process(program("ignore:TERM", "pid:it", "hang")) as process:
            pid = await pid_of(process, "it")
            if len(sys.argv) > 1:
                old = guard_pid()
                assert old is not None
                os.kill(old, signal.SIGKILL)
                os.waitid(os.P_PID, old, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
                guard.adopt(process.pid)
                assert old != guard_pid()
            say(guard_pid(), pid, path)
            await anyio.sleep_forever()


anyio.run(main)
