"""Run apart: the guard of the next host ends what a dead host left."""

from support.left import left_by_a_dead_host, next_start
from support.proc import alive, gone

pids = left_by_a_dead_host()
assert len(pids) == 5, pids
assert all(map(alive, pids)), pids
with next_start():
    gone(pids, 5)
