"""Run apart: only the programs of a host that is certainly gone are ended."""

import os
import sys

from prx_tunnel_core.process._reaper import orphans, procfs
from support.left import carrying, dead_process, naming
from support.proc import alive, gone, state

FIRST_THREAD_ENDS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""

me, (gone_pid, started) = os.getpid(), dead_process()
mine = int(procfs.start_time(me))
zombie = os.posix_spawn("/bin/true", ["true"], {})
os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
half = os.posix_spawn(sys.executable, [sys.executable, "-c", FIRST_THREAD_ENDS], {})
while state(half) != "Z":
    pass
dead, pid_space, time_space = naming(gone_pid, started), *procfs.origin()[1:]
judged = {
    "of a number that is nobody's": dead,
    "of a number that is another process": naming(me, mine + 1),
    "of a number that is a thread": naming(half, 1),
    "of a zombie": naming(zombie),
    "of a host in a host that lives": naming(me) + dead,
}
others = {
    "of one that lives": naming(me),
    "of one that lives in a host that is gone": dead + naming(me),
    "of one whose first thread has ended": naming(half),
    "of another pid namespace": naming(gone_pid, started, namespaces=(1, time_space)),
    "of another time namespace": naming(gone_pid, started, namespaces=(pid_space, 1)),
    "of one that does not know its start": naming(gone_pid, 0),
    "of one that knows nothing": naming(gone_pid, 0, namespaces=(0, 0)),
    "of a version that did not tell it": f"{'0' * 24}.{gone_pid}.1;",
}
pids = {text: carrying(token) for text, token in (judged | others).items()}
user = os.geteuid
vars(os)["geteuid"] = lambda: 1
assert orphans.orphans(b"") == {}, "that is another user's"
vars(os)["geteuid"] = user
found = orphans.orphans(b"")
assert set(found) == {pids[text] for text in judged}, [t for t in pids if pids[t] in found]
orphans.end_orphans(b"")
gone([pids[text] for text in judged], 0)
assert all(alive(pids[text]) for text in others)
