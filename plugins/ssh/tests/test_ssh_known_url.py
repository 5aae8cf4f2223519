"""Where the settings alone decide the public URL."""

from __future__ import annotations

from prx_tunnel_ssh.config import SshConfig


def test_a_url_without_a_variable_part_is_known_beforehand() -> None:
    fixed = SshConfig(host="h", remote_port=4000, public_url="https://agent.example.com")
    assert fixed.known_url() == "https://agent.example.com"
    chosen = SshConfig(host="h", remote_port=4000, public_url="https://h.example.com:{port}")
    assert chosen.known_url() == "https://h.example.com:4000"


def test_one_that_the_server_decides_is_not() -> None:
    assert SshConfig(host="h", public_url="https://h.example.com:{port}").known_url() is None
    assert SshConfig().known_url() is None
