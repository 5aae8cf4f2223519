"""The contract of every backend, for the program that a user names."""

from __future__ import annotations

import prx_tunnel_custom

from prx_tunnel_core.testing import BackendContract


class TestPattern(BackendContract):
    plugin = prx_tunnel_custom
    program = "relay"
    settings = {
        "command": "relay --port {port}",
        "url_pattern": r"ready at (https://\S+\.relay\.example)",
        "env": {"RELAY_TOKEN": "canary-of-the-relay"},
    }
    wrong_settings = {"command": "relay | tee log", "url_pattern": "(", "url_scheme": "gopher"}
    announces = ["asking the relay", "ready at https://a1.relay.example"]
    public_url = "https://a1.relay.example"


class TestReadiness(TestPattern):
    settings = {
        "command": ["relay", "{port}"],
        "public_url": "https://fixed.relay.example",
        "ready_pattern": "registered",
    }
    wrong_settings = {"public_url": "not a URL", "ready_pattern": ""}
    announces = ["https://fixed.relay.example", "registered with the relay"]
    public_url = "https://fixed.relay.example"
    holds_secrets = False
