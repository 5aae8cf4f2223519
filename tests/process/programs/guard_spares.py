"""A host that spares one of two processes; with an argument, its guard is killed after that."""

import os
import signal
import sys

from prx_tunnel_core.process._reaper import guard, tokens
from support.proc import guard_pid, say


def carrying(token: str) -> int:
    environ = os.environ | {tokens.TOKEN_VARIABLE: token}
    return os.posix_spawn("/bin/sleep", ["sleep", "600"], environ)


guard.prepare()
spared, ended = carrying(tokens.agent_token()), carrying(tokens.new_token())
guard.spare(tokens.agent_token())
old = guard_pid()
if len(sys.argv) > 1:
    assert old is not None
    os.kill(old, signal.SIGKILL)
    os.waitid(os.P_PID, old, os.WEXITED | os.WNOWAIT)
    guard.adopt(ended, alone=True)
    assert old != guard_pid()
say(spared, ended, guard_pid())
sys.stdin.read()
