"""`[tunnel.tailscale]`."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import field_validator

from prx_tunnel_core.config import BackendConfig, Port

_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")


EXAMPLE = """\
# "funnel" is public; "serve" is reachable inside your tailnet only.
# mode = "funnel"

# The HTTPS port of the URL: 443, 8443 or 10000 for Funnel.
# funnel_port = 443
"""


class TailscaleConfig(BackendConfig):
    # What other tools call these settings, and where the key of the nearest spelling would mislead.
    key_hints: ClassVar[Mapping[str, str]] = {
        "funnel": 'write mode = "funnel" or mode = "serve"',
        "port": "funnel_port",
        "reset_on_stop": "only our own route is removed, always",
        "tailscale_path": "program",
        "tailscale_bin": "program",
    }

    mode: Literal["funnel", "serve"] = "funnel"
    """`funnel`: public. `serve`: reachable inside the tailnet only."""
    funnel_port: Port = 443
    """The HTTPS port of the public URL; Funnel allows what the node's policy lists."""
    path: str = "/"
    """The path of the local server; the node removes it from the requests that it forwards."""
    background: bool = False
    """Store the route in tailscaled, instead of running a program as long as the tunnel."""
    program: str = "tailscale"
    socket: str | None = None
    """The socket of your own tailscaled; the system's by default."""

    @field_validator("path")
    @classmethod
    def _mount(cls, path: str) -> str:
        # tailscale itself refuses what path.Clean would change (cli/serve_v2.go, cleanURLPath).
        mount = path.removesuffix("/") or "/"
        if not _PATH.fullmatch(path) or "//" in path or posixpath.normpath(path) != mount:
            raise ValueError("begin with '/'; letters, digits and . _ ~ - between single slashes")
        return mount

    @field_validator("program")
    @classmethod
    def _named(cls, program: str) -> str:
        if not program.strip():
            raise ValueError("name the program, or leave the key out for 'tailscale' on PATH")
        return program

    @field_validator("socket")
    @classmethod
    def _absolute(cls, socket: str | None) -> str | None:
        if socket is not None and not os.path.isabs(socket):
            raise ValueError("give the absolute path of tailscaled's socket")
        return socket
