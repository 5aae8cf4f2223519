"""A host that starts a guard with room for 0 to 7 descriptors."""

import logging
import resource

from prx_tunnel_core.process._reaper import guard
from support.proc import descriptors, say

logging.disable()  # of warnings that there is no guard
counts, started = set(), 0
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
for room in range(8):
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, descriptors())) + 1 + room, most))
    one = guard._Guard()
    started += one.pid is not None
    one.dismiss()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    counts.add(len(descriptors()))
say("started", started, "descriptors", *counts)
