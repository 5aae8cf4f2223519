"""Run a tunnel program so that it cannot fool, stall or outlive us.

Everything specific to an operating system is in this package and in `control`.
"""

from prx_tunnel_core.process.opening import open_process
from prx_tunnel_core.process.private import private_file, private_folder, write_private
from prx_tunnel_core.process.program import find_program
from prx_tunnel_core.process.running import TunnelProcess

__all__ = [
    "TunnelProcess",
    "find_program",
    "open_process",
    "private_file",
    "private_folder",
    "write_private",
]
