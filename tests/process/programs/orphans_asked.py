"""Run apart: it asks them to end by TERM first."""

import sys

from support.left import left_by_a_dead_host, next_start
from support.proc import gone

pids = left_by_a_dead_host("host_polite", sys.argv[1])
with next_start():
    gone(pids, 5)
