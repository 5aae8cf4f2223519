"""A host with a fork that ends as the second argument says; the program goes on at the gate."""

import os
import signal  # noqa: F401 - for the argument
import sys

import anyio

from prx_tunnel_core.process import open_process
from support.proc import pid_of, program, say, starts


async def main() -> None:
    command = program("pid:leader", f"gate:{sys.argv[1]}", "print:still", "hang")
    async with open_process(command) as process:
        await pid_of(process, "leader")
        fork = os.fork()
        if fork == 0:
            exec(sys.argv[2])
        os.waitpid(fork, 0)  # noqa: ASYNC222 - it ends at once
        say("waited")
        await process.first_match(starts("still"))
        say("still")


anyio.run(main, backend=sys.argv[3])
