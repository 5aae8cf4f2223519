"""What is wrong on this machine, and the fix: everything that can be told without a tunnel.

examination.py  the order of things; plugins, configuration, clock
backend.py      the selected backend: its settings, program and servers
local.py        the local port, and who listens there
running.py      the tunnel of that name, should it run, and what killed ones have left
"""

from prx_tunnel_core._doctor.examination import examine

__all__ = ["examine"]
