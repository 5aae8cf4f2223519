"""A host that has had a program and ends in order."""

import sys

import anyio

from prx_tunnel_core.process import open_process
from support.proc import guard_pid, program, say, starts


async def main() -> None:
    async with open_process(program("print:up", "hang")) as process:
        await process.first_match(starts("up"))


anyio.run(main, backend=sys.argv[1])
say(guard_pid())
