"""A host whose program has a polite descendant in another session."""

import sys

import anyio

from prx_tunnel_core.process import open_process
from support.proc import guard_pid, pid_of, program, say


async def main() -> None:
    stray = f"escape:on:TERM,touch:{sys.argv[1]}+exit:0;pid:stray;stop;hang"
    async with open_process(program(stray, "hang")) as process:
        say(guard_pid(), await pid_of(process, "stray"))
        await anyio.sleep_forever()


anyio.run(main)
