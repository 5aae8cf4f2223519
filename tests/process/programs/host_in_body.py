"""A host that ends, as its argument says, while its program runs and a thread has just ended."""

import os  # noqa: F401 - for the argument
import sys
import threading

import anyio

from prx_tunnel_core.process import open_process
from support.proc import guard_pid, pid_of, program, say


async def main() -> None:
    async with open_process(program("pid:leader", "hang")) as process:
        say(await pid_of(process, "leader"), guard_pid())
        threading.Thread(target=sys.exit).start()
        exec(sys.argv[1])


anyio.run(main)
