"""The contract of every backend, with the stand-in for ngrok's agent."""

from __future__ import annotations

import json
from pathlib import Path

import prx_tunnel_ngrok

from prx_tunnel_core.testing import BackendContract

PLAN = {"version": "3.39.1", "dialect": 3, "check": [0, []], "runs": [["connect"]], "port": 0}
PLAYS_THE_AGENT = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
folder = os.path.dirname(sys.argv[0])
os.makedirs(folder + "/runs", exist_ok=True)
with open(folder + "/plan.json", "w") as plan:
    plan.write({json.dumps(PLAN)!r})
from standin.agent import main
main(sys.argv[0], sys.argv[1:])
"""


class TestNgrok(BackendContract):
    plugin = prx_tunnel_ngrok
    settings = {"authtoken": "2abcCanaryOfTheAgent_9xyz"}
    wrong_settings = {"authtoken": 3, "domain": "not a domain"}
    stand_in = PLAYS_THE_AGENT
    subcommand = "http"
