"""A host that may not start another process."""

import os
import resource

import anyio

from prx_tunnel_core.errors import ConnectError
from prx_tunnel_core.process import open_process
from support.proc import say


async def main() -> None:
    async with open_process(["/bin/true"]) as process:
        await process.wait()
    if os.geteuid() == 0:  # the limit does not hold for root
        os.setgid(65534)
        os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    try:
        async with open_process(["/bin/true"]):
            raise AssertionError("started")
    except ConnectError as error:
        say(error)


anyio.run(main)
