"""Run apart: the next host ends before what is left has."""

import os

from support.left import carrying, dead_process, naming, next_start
from support.proc import gone, program

listening, telling = os.pipe()
command = program("on:TERM,print:asked", "print:ready", "hang")
left = carrying(naming(*dead_process()), *command, out=telling)
with open(listening) as said:
    assert said.readline() == "ready\n"
    with next_start():
        assert said.readline() == "asked\n"
gone([left], 5)
