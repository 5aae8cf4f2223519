"""The contract of every backend, with the stand-in that plays the recordings of cloudflared."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import prx_tunnel_cloudflare

from prx_tunnel_core.backend import Target
from prx_tunnel_core.testing import BackendContract

PLAYS_RECORDINGS = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
folder = os.path.dirname(sys.argv[0])
with open(folder + "/plans.json", "w") as plans:
    plans.write("[{{}}]")
from cloudflare_kit.stand_in.program import main
main(folder)
"""
TOKEN = {"a": "0" * 32, "t": "6ff42ae2-765d-4adf-8112-31c55c1551ef", "s": "Y2FuYXJ5LXNlY3JldA=="}


class TestQuick(BackendContract):
    plugin = prx_tunnel_cloudflare
    target = Target("127.0.0.1", 9999)  # the port of the recordings
    stand_in = PLAYS_RECORDINGS
    subcommand = "tunnel"
    holds_secrets = False
    wrong_settings = {"protocol": "carrier-pigeon", "grace_period": -1, "metrics_port": 0}


class TestToken(TestQuick):
    settings = {
        "token": base64.b64encode(json.dumps(TOKEN).encode()).decode(),
        "hostname": "agent.example.com",
    }
    wrong_settings = {"token": "no-token-of-cloudflare", "hostname": "not a name"}
    public_url = "https://agent.example.com"
    holds_secrets = True
