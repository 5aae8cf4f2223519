"""The state that the connections of one relay share."""

from __future__ import annotations

import asyncio
from typing import Any

from prx_tunnel_ssh.forwarding import End
from prx_tunnel_ssh.relay.crowd import Crowd
from prx_tunnel_ssh.relay.keys import Admits
from prx_tunnel_ssh.relay.limits import Places
from prx_tunnel_ssh.relay.log import Log
from prx_tunnel_ssh.relay.settings import RelaySettings
from prx_tunnel_ssh.relay.startups import Startups
from prx_tunnel_ssh.relay.tunnel_table import TunnelTable


class RelayState:
    def __init__(self, settings: RelaySettings, admits: Admits, log: Log) -> None:
        limits = settings.limits
        self.settings = settings
        self.admits = admits
        self.log = log
        self.startups = Startups(limits)
        self.owners = Places(limits.per_key)
        """SSH connections by key."""
        self.tunnels = TunnelTable(limits.tunnels_per_key)
        self.crowd = Crowd(limits, settings.proxies)
        self.ends: set[End] = set()
        """Both ends of each visitor of a port."""
        self.tasks: set[asyncio.Task[Any]] = set()
        """Tasks that may outlast the connection that started them, but not the relay."""
        self.web_port = 0
        """The port of the web sites; 0 when there are none."""
