"""A host with a guard, until its standard input ends."""

import sys

from prx_tunnel_core.process._reaper import guard
from support.proc import guard_pid, say

guard.prepare()
say(guard_pid())
sys.stdin.read()
