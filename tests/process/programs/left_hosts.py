"""Run apart: what is left of the token of a host, as the arguments say: KIND EXPECTED..."""

import os
import subprocess
import sys

from prx_tunnel_core.process._reaper import tokens
from support.left import dead_process, naming
from support.proc import PROGRAMS

kind, *expected = sys.argv[1:]
gone_host, living = naming(*dead_process()), naming(os.getpid())
token = {
    "living": living,
    "living below one that is gone": gone_host + living,
    "agent": tokens.agent_token(),
    "gone": gone_host,
}[kind]
command = [sys.executable, "-W", "error", str(PROGRAMS / "leaving_a_host.py"), "argument"]
environ = os.environ | {"BEFORE": "1", tokens.TOKEN_VARIABLE: token, "Z": "1"}
said = subprocess.check_output(command, env=environ, text=True).split()
kept = len(environ) - (expected[0] == "False")
assert said == [*expected, str(kept), "argument"], said
