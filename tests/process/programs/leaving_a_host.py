"""Leaves its host as `prx tunnel start --detach` does, and says what is left of the token."""

import os
import sys

from prx_tunnel_core._cli.start import leave_host
from prx_tunnel_core.process._reaper import procfs, tokens
from support.proc import say

leave_host()
shown = procfs.environment(os.getpid())
assert shown
carried = tokens.last_token(shown) != b""
say(carried, tokens.TOKEN_VARIABLE in os.environ, len(os.environ), *sys.argv[1:])
