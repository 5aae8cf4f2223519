"""How a process that is to outlive the host above it gets rid of that host's token."""

from __future__ import annotations

import pytest

from support.left import apart

SHED = """
code = '''
import os
from prx_tunnel_core.process import _group
from prx_tunnel_core.process._reaper import orphans, procfs
from prx_tunnel_core.process._inherited import shed_token

before = procfs.environment(os.getpid())
shed_token()
after = procfs.environment(os.getpid())
inherited = os.environ.get(_group.TOKEN_VARIABLE)
print(after == before, bool(orphans.last_token(after)), inherited is not None, len(os.environ))
'''

def told(token):
    environ = {**os.environ, "BEFORE": "1", _group.TOKEN_VARIABLE: token, "Z": "1"}
    return subprocess.check_output([sys.executable, "-c", code], env=environ, text=True).split()

gone_host = naming(*dead_process())
living = naming(os.getpid())
variables = len(os.environ) + 3
"""


@pytest.mark.parametrize("token", ["living", "gone_host + living", "_group.agent_token()"])
def test_the_token_of_a_living_host_is_shed_also_in_what_proc_shows(token: str) -> None:
    expected = "['False', 'False', 'False', str(variables - 1)]"
    apart(f"{SHED}\nassert told({token}) == {expected}, told({token})")


def test_that_of_a_host_that_is_gone_stays() -> None:
    """Or what that host left would be ended, though it started us: a terminal, perhaps."""
    apart(f"{SHED}\nassert told(gone_host) == ['True', 'True', 'True', str(variables)]")
