"""A host whose program has descendants of every kind, which ignore TERM."""

import anyio

from prx_tunnel_core.process import open_process
from support.proc import guard_pid, pid_of, program, say

command = program(
    "child:ignore:TERM;pid:child;hang", "escape:ignore:TERM;pid:escaped;hang",
    "daemonize:ignore:TERM;pid:daemon;closeout;hang", "child:pid:stopped;stop;hang",
    "ignore:TERM", "pid:leader", "hang",
)  # fmt: skip


async def main() -> None:
    async with open_process(command) as process:
        labels = ("child", "escaped", "daemon", "stopped", "leader")
        say(guard_pid(), *[await pid_of(process, label) for label in labels])
        await anyio.sleep_forever()


anyio.run(main)
