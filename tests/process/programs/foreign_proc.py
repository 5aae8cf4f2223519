"""A host whose /proc shows another PID namespace."""

import os
import subprocess

import anyio

from prx_tunnel_core.process import open_process
from support.proc import program, say, starts

command = program("child:ignore:TERM;hang", "print:up", "hang")
bystander = subprocess.Popen(["/bin/sleep", "600"])


async def main() -> None:
    async with open_process(command, grace=0.1) as process:
        await process.first_match(starts("up"))
        assert os.readlink("/proc/self") != str(os.getpid())
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        say(bystander.poll(), "nobody is left")


anyio.run(main)
bystander.kill()
bystander.wait()
