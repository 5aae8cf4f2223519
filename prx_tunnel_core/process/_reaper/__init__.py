"""Ends the processes that would outlive their tunnel or their host.

`guard_main` runs as a script in a process beside the host, so it and what it imports use the
standard library alone: `tokens`, `procfs`, `sweep`, `orphans` and `folders`.
"""
