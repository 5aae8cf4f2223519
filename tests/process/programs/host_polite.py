"""A host whose program makes a file when it is asked to end."""

import sys

import anyio

from prx_tunnel_core.process import open_process
from support.proc import guard_pid, pid_of, program, say


async def main() -> None:
    command = program(f"on:TERM,touch:{sys.argv[1]}+exit:0", "pid:it", "hang")
    async with open_process(command) as process:
        say(guard_pid(), await pid_of(process, "it"))
        await anyio.sleep_forever()


anyio.run(main)
