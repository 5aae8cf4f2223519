"""Run apart, among users: a process of another user is neither a guard nor ours to end."""

import subprocess
import sys

from prx_tunnel_core.process._reaper import guard_main, orphans, procfs, strays, sweep, tokens
from support.left import dead_process, naming, next_start, stubborn
from support.proc import gone

token, mine = naming(*dead_process()), tokens.new_token()
host_token = token.rpartition(".")[0] + "."
command = ["/usr/bin/python3", "-I", "-S", sys.argv[1], "1"]
arguments: list[tuple[str, dict[str, str]]] = [
    (host_token, {}),
    ("", {tokens.TOKEN_VARIABLE: token}),
    ("", {tokens.TOKEN_VARIABLE: mine}),
]
others = [
    subprocess.Popen(
        [*command, argument], env=env, stdout=subprocess.PIPE,
        user=65534, group=65534, extra_groups=[],
    )
    for argument, env in arguments
]  # fmt: skip
assert [other.stdout and other.stdout.readline() for other in others] == [b"ready\n"] * 3
assert mine.encode() in (procfs.environment(others[2].pid) or b"")
left = stubborn(token)
assert list(orphans.orphans(b"")) == [left]
with next_start():
    gone([left], 5)
assert sweep.running() == []
strays.end_strays_at_once(mine)
guard_main.end({}, tokens.host_token().encode())
assert [other.poll() for other in others] == [None] * 3
