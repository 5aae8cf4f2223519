"""Where the settings alone decide the public URL."""

from __future__ import annotations

import pytest
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.connect import connect

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import ConfigError


def test_a_url_without_a_variable_part_is_known_beforehand() -> None:
    fixed = SshConfig(host="h", remote_port=4000, public_url="https://agent.example.com")
    assert fixed.known_url() == "https://agent.example.com"
    chosen = SshConfig(host="h", remote_port=4000, public_url="https://h.example.com:{port}")
    assert chosen.known_url() == "https://h.example.com:4000"


def test_one_that_the_server_decides_is_not() -> None:
    assert SshConfig(host="h", public_url="https://h.example.com:{port}").known_url() is None
    assert SshConfig().known_url() is None


@pytest.mark.anyio
async def test_the_local_target_is_no_public_url() -> None:
    config = SshConfig(host="h", public_url="http://localhost:{port}", remote_port=3000)
    with pytest.raises(ConfigError, match=r"^tunnel\.ssh\.public_url: http://localhost:3000 is "):
        async with connect(config, Target("127.0.0.1", 3000)):
            pytest.fail("connected to the local target")
