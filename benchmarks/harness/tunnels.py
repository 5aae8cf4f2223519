"""Tunnels over a stand-in, for what is measured inside of a process of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prx_tunnel_core import PluginRegistry, Tunnel
from prx_tunnel_core._supervisor.run import Seams

# The stand-ins put their process number into the URL.
_PID = re.compile(r"//p([0-9]+)\.")

# Without a visitor's request: nobody would answer it where there is no network.
QUIET: Mapping[str, Any] = {"health_check_url": False}


def tunnel(
    program: str,
    reconnect: Mapping[str, Any] | None = None,
    *,
    custom: Mapping[str, Any] | None = None,
    name: str = "bench",
    plugins: PluginRegistry | None = None,
    **tunnel_table: Any,
) -> Tunnel:
    table = {
        "backend": "custom",
        "local_port": 3000,
        "custom": {"command": [program], "url_pattern": "trycloudflare.com", **(custom or {})},
        "reconnect": reconnect or {"enabled": False},
        **QUIET,
        **tunnel_table,
    }
    return _Online(table, name=name, plugins=plugins)


class _Online(Tunnel):
    """In the sealed namespace there is no route, and another tunnel would wait for one."""

    _seams = Seams(online=lambda: True)


def pid_of(url: str) -> int:
    found = _PID.search(url)
    assert found is not None, url
    return int(found[1])
