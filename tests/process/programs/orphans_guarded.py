"""Run apart: what has a guard that runs is left to it; a guard that is stopped is none."""

import os
import signal

from prx_tunnel_core.process._reaper import guard, tokens
from support.left import dead_process, naming, next_start, stubborn
from support.proc import alive, gone, guard_pid, state

# A real guard, which waits for the end of this process and ends what is another host's.
token, other = naming(*dead_process()), naming(*dead_process())
vars(tokens)["_host_token"] = lambda _pid: token.rpartition(".")[0] + "."
guard.prepare()
its_guard = guard_pid()
assert its_guard is not None
left, its_own = stubborn(other), stubborn(token)
with next_start():
    gone([left], 5)
    assert alive(its_own)
os.kill(its_guard, signal.SIGSTOP)
while state(its_guard) != "T":
    pass
with next_start():
    gone([its_own], 5)
