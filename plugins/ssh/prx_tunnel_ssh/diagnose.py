"""What `prx tunnel doctor` can find out without opening a tunnel.

What imports asyncssh is imported only in the functions: it takes a quarter of a second.
"""

from __future__ import annotations

import os

from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.models import Check
from prx_tunnel_ssh.config import SshConfig


async def diagnose(config: SshConfig) -> list[Check]:
    if config.host is None:
        return [Check("server", "ok", "none set: the embedded relay, reachable from this machine")]
    return [_host_key(config), _credentials(config)]


def _host_key(config: SshConfig) -> Check:
    from prx_tunnel_ssh.hostkeys import read_known_hosts

    try:
        known = read_known_hosts(config)
    except SetupError as error:
        return Check("host key", "fail", str(error))
    if known.hosts is None:
        return Check("host key", "fail", "not verified: known_hosts accepts any key")
    if not known.keys and not known.authorities:
        return Check("host key", "fail", f"{known.path} does not know {known.name}")
    return Check("host key", "ok", f"{known.path} knows {known.name}")


def _credentials(config: SshConfig) -> Check:
    from prx_tunnel_ssh.credentials import agent_socket, only_public, read_key, user_name

    try:
        config.username or user_name()
        socket = agent_socket(config)
        if config.identity_file is not None and not only_public(config):
            read_key(config)
    except SetupError as error:
        return Check("credentials", "fail", str(error))
    if isinstance(config.agent, str) and not os.path.exists(socket or ""):
        return Check("credentials", "fail", f"agent: there is no socket {socket}")
    found = {
        "identity_file": config.identity_file,
        "agent": socket,
        "a password": config.password,
    }
    names = [name for name, value in found.items() if value is not None]
    return Check("credentials", "ok", ", ".join(names) or "the default files of ~/.ssh")
