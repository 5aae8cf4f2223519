"""A host on Windows, as far as Python code can tell."""

import asyncio
import importlib
import logging  # noqa: F401 - loaded on the real platform
import os
import signal
import sys

import pydantic  # noqa: F401

from support.proc import say

for name in [name for name in sys.modules if name.startswith("prx_tunnel_core")]:
    del sys.modules[name]
POSIX = (
    "killpg", "getpgid", "setsid", "pidfd_open", "waitid", "register_at_fork", "geteuid",
    "getegid", "getgroups", "set_blocking", "fork", "WNOHANG", "P_PID", "WEXITED",
)  # fmt: skip
SIGNALS = ("SIGKILL", "SIGCONT", "SIGHUP", "SIGQUIT", "pthread_sigmask", "pidfd_send_signal")
kept = {name: getattr(os, name) for name in POSIX}
for name in POSIX:
    delattr(os, name)
for name in SIGNALS:
    delattr(signal, name)
vars(sys)["platform"] = "win32"
process = importlib.import_module("prx_tunnel_core.process")
guard = importlib.import_module("prx_tunnel_core.process._reaper.guard")
errors = importlib.import_module("prx_tunnel_core.errors")


async def main() -> None:
    assert callable(process.find_program)
    try:
        async with process.open_process(["no-such-program"]):
            raise AssertionError
    except errors.SetupError as error:
        say(type(error).__name__, error)
    say(guard._current)


loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
