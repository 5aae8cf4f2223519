"""Run apart: programs of living hosts stay, also when the host is stopped."""

import os
import signal

from support.left import dead_process, naming, next_start, stubborn
from support.proc import PROGRAMS, alive, gone, heard, host

with (
    host(PROGRAMS / "host_stubborn.py") as living,
    host(PROGRAMS / "host_stubborn.py") as frozen,
):
    pids = [int(word) for process in (living, frozen) for word in heard(process)]
    os.kill(frozen.pid, signal.SIGSTOP)
    left = stubborn(naming(*dead_process()))
    with next_start():
        gone([left], 5)
        assert all(map(alive, pids)), pids
