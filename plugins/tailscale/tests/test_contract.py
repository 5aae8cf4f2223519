"""The contract of every backend, with the stand-in for tailscale and its daemon."""

from __future__ import annotations

import tempfile
from pathlib import Path

import prx_tunnel_tailscale
from tailscale_standin import HERE, HOST, StandIn

from prx_tunnel_core.testing import BackendContract

with tempfile.TemporaryDirectory() as folder:
    StandIn(Path(folder))
    NODE = Path(folder, "state").read_bytes()

PLAYS_A_NODE = f"""
import os, sys
sys.path.insert(0, {str(HERE)!r})
state = os.path.dirname(sys.argv[0]) + "/state"
if not os.path.exists(state):
    with open(state, "wb") as file:
        file.write({NODE!r})
import standin_program
standin_program.main(sys.argv[1:])
"""


class TestFunnel(BackendContract):
    plugin = prx_tunnel_tailscale
    wrong_settings = {"mode": "tunnel", "path": "up/there", "socket": "here"}
    public_url = f"https://{HOST}"
    stand_in = PLAYS_A_NODE
    subcommand = "--https=443"
    program_carries_traffic = False  # tailscaled does
