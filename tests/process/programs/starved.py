"""A host that starts a program with room for 0 to 11 descriptors."""

import resource
import sys

import anyio

from prx_tunnel_core.errors import ConnectError
from prx_tunnel_core.process import open_process
from support.proc import descriptors, program, say


async def main() -> None:
    async with open_process(program("hang")):
        pass
    counts, refusals = set(), 0
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for room in range(12):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, descriptors())) + 1 + room, most))
        try:
            async with open_process(program("print:up", "exit:3")) as process:
                assert await process.wait() == 3
        except ConnectError as error:
            text = str(error)
            assert text.endswith("could not be started: Too many open files"), text
            refusals += 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        counts.add(len(descriptors()))
    say("refused", refusals, "descriptors", *counts)


anyio.run(main, backend=sys.argv[1])
