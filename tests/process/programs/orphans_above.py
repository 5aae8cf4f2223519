"""Run apart: a host that was started by what is left does not end it."""

import os

from prx_tunnel_core.process._reaper import tokens
from support.left import carrying, dead_process, naming, next_start, stubborn
from support.proc import alive, gone

token = naming(*dead_process())
terminal, left = carrying(token), stubborn(naming(*dead_process()))
os.environ[tokens.TOKEN_VARIABLE] = token
with next_start() as host_in_it:
    gone([left], 5)
    assert alive(terminal)
    assert alive(host_in_it.pid)
del os.environ[tokens.TOKEN_VARIABLE]
with next_start():
    gone([terminal], 5)
