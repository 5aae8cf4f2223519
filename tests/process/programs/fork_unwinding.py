"""A host with a fork that leaves the context of the program."""

import os
import sys

import anyio

from prx_tunnel_core.process import open_process
from support.proc import pid_of, program, say


async def main() -> None:
    async with open_process(program("pid:leader", "hang")) as process:
        await pid_of(process, "leader")
        fork = os.fork()
        if fork == 0:
            sys.exit()
        os.waitpid(fork, 0)  # noqa: ASYNC222 - it ends at once
        say("waited", process.has_ended())
        os._exit(0)  # the fork has broken the event loop: both have the same epoll


anyio.run(main, backend=sys.argv[1])
