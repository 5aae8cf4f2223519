"""A host that only imports the package: children, guard, threads and descriptors."""

import threading

import prx_tunnel_core.process  # noqa: F401
from support.proc import children, descriptors, guard_pid, say

say(len(children()), guard_pid(), threading.active_count(), len(descriptors()))
