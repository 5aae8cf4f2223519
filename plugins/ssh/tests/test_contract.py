"""The contract of every backend, with the relay of our own as the far end."""

from __future__ import annotations

import prx_tunnel_ssh

from prx_tunnel_core.testing import BackendContract


class TestEmbeddedRelay(BackendContract):
    plugin = prx_tunnel_ssh
    runs_program = False
    event_loops = ("asyncio",)
    holds_secrets = False  # a password is for a server
    wrong_settings = {"remote_port": -1, "keepalive_count": 0, "host": "user@relay.example"}
