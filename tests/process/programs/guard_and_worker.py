"""A host with a forked worker, which holds a copy of the pipe to the guard."""

import os
import time

import anyio

from prx_tunnel_core.process import open_process
from support.proc import guard_pid, pid_of, program, say


async def main() -> None:
    async with open_process(program("pid:leader", "hang")) as process:
        leader = await pid_of(process, "leader")
        worker = os.fork()
        if worker == 0:
            os.close(1)
            os.close(2)
            time.sleep(1000)  # noqa: ASYNC251 - no event loop runs in the worker
        say(worker, leader, guard_pid())
        await anyio.sleep_forever()


anyio.run(main)
