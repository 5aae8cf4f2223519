"""Run a tunnel program so that it cannot fool, stall or outlive us.

Everything specific to an operating system is in this package and in `control`.
"""

from prx_tunnel_core.process._opening import open_process
from prx_tunnel_core.process._private import private_file, private_folder, write_private
from prx_tunnel_core.process._process import TunnelProcess
from prx_tunnel_core.process._spawn import find_program

__all__ = [
    "TunnelProcess",
    "find_program",
    "open_process",
    "private_file",
    "private_folder",
    "write_private",
]
