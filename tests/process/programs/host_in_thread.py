"""A host with a tunnel program in a thread; the argument is how its main thread goes on."""

import os  # noqa: F401 - for the argument
import signal  # noqa: F401
import sys
import threading

import anyio

from prx_tunnel_core.process import open_process
from support.proc import guard_pid, pid_of, program, say

up = threading.Event()


async def main() -> None:
    async with open_process(program("escape:pid:escaped;hang", "pid:leader", "hang")) as process:
        pids = [await pid_of(process, label) for label in ("escaped", "leader")]
        say(*pids, guard_pid())
        up.set()
        await anyio.sleep_forever()


threading.Thread(target=anyio.run, args=(main,), daemon=True).start()
up.wait()
exec(sys.argv[1])
