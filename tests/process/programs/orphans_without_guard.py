"""Run apart: a process that only names the host in its arguments is no guard."""

import subprocess
import sys

from support.left import dead_process, naming, next_start, stubborn
from support.proc import gone

token = naming(*dead_process())
left = stubborn(token)
ready, host_token = sys.argv[1], token.rpartition(".")[0] + "."
others = [
    subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, env={})
    for command in (
        ["-c", ready, host_token],
        ["-I", "-S", "-c", ready, "guard_main.py", "1", host_token],
        ["-I", "-S", "-c", f"{ready} # guard_main.py 1 {host_token}"],
    )
]
assert [other.stdout and other.stdout.readline() for other in others] == [b"ready\n"] * 3
with next_start():
    gone([left], 5)
assert [other.poll() for other in others] == [None] * 3
