"""Run a tunnel program so that it cannot fool, stall or outlive its host.

    async with open_process(["bore", "local", "3000", "--to", "bore.pub"]) as process:
        url = await process.first_match(find_url)
        yield process.connection(url)

`open_process` starts and ends the program, `find_program` only looks for it; secrets that a program
reads from a file go into a `private_file`.
"""

from prx_tunnel_core.process._private_files import private_file, private_folder, write_private
from prx_tunnel_core.process._process import TunnelProcess, open_process
from prx_tunnel_core.process._spawn import find_program

__all__ = [
    "TunnelProcess",
    "find_program",
    "open_process",
    "private_file",
    "private_folder",
    "write_private",
]
