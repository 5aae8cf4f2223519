"""A host whose `sys.executable` is the first argument; with another argument, it is frozen."""

import logging
import sys

import anyio

from prx_tunnel_core.process import open_process
from support.proc import children, guard_pid, program, say, starts

command = program("print:up", "hang")


async def main() -> None:
    async with open_process(command) as process:
        await process.first_match(starts("up"))
        say(guard_pid(), len(children()))


logging.basicConfig(stream=sys.stdout, format="%(message)s")
sys.executable = sys.argv[1]
vars(sys)["frozen"] = len(sys.argv) > 2
anyio.run(main)
