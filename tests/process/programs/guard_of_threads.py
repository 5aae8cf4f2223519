"""A host with three programs in each of two threads."""

import threading
from pathlib import Path

import anyio

from prx_tunnel_core.process import open_process
from support.proc import children, guard_pid, program, say, starts

count = 0
guards: set[int | None] = set()


async def run() -> None:
    global count
    async with open_process(program("print:up", "hang")) as process:
        await process.first_match(starts("up"))
        count += 1
        while count < 6:
            await anyio.sleep(0.001)
        guards.add(guard_pid())


async def main() -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(run)


threads = [threading.Thread(target=anyio.run, args=(main,)) for _ in range(2)]
for each in threads:
    each.start()
for each in threads:
    each.join()
command = Path(f"/proc/{guard_pid()}/cmdline").read_text()
say(len(guards), len(children()), command.count("guard_main.py"))
