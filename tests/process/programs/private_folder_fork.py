"""A host with a private folder and a fork, which waits or, with an argument, leaves the context."""

import os
import signal
import sys

from prx_tunnel_core.process import private_folder
from support.proc import guard_pid, say

listening, telling = os.pipe()
with private_folder() as folder:
    worker = os.fork()
    if worker:
        say(guard_pid(), worker, folder)
        sys.stdin.read()
    elif len(sys.argv) == 1:
        os.close(telling)
        signal.pause()
os._exit(0)
