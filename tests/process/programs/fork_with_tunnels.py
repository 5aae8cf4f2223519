"""A host and a fork of it, each with a program: GATE DONE ENDING.

The host's program goes on at the gate; the fork ends as the last argument says.
"""

import os
import sys
import threading

import anyio

from prx_tunnel_core.process import open_process
from support.proc import guard_pid, program, say, starts

up = threading.Event()


async def in_the_fork() -> None:
    async with open_process(program("print:up", "hang")) as process:
        await process.first_match(starts("up"))
        say(guard_pid())
        exec(sys.argv[3])


async def in_the_host() -> None:
    command = program("print:up", f"gate:{sys.argv[1]}", "print:still", "hang")
    async with open_process(command) as process:
        await process.first_match(starts("up"))
        up.set()
        await process.first_match(starts("still"))
        say("still")


thread = threading.Thread(target=anyio.run, args=(in_the_host,))
thread.start()
up.wait()
say(guard_pid())
fork = os.fork()
if fork == 0:
    anyio.run(in_the_fork)
    open(sys.argv[2], "x").close()
    sys.exit(0)
os.waitpid(fork, 0)
say("waited")
thread.join()
