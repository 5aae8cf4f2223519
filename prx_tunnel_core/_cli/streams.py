"""Standard streams that may be closed, full, a pipe nobody reads, or unable to write an umlaut."""

from __future__ import annotations

import os
import sys

BROKEN_PIPE = 141  # what a shell makes of SIGPIPE


def prepare() -> None:
    """Descriptors 0 to 2 exist from here on, and no text is too foreign to be written."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # Or a socket would take the number, and print would write into it.
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def write(text: str) -> None:
    """To stdout, at once: somebody may be waiting for the line at the other end of a pipe."""
    if sys.stdout is not None:
        sys.stdout.write(_harmless(text))
        sys.stdout.flush()


def _harmless(text: str) -> str:
    """Whatever a caller forgot: nothing that leaves here controls a terminal."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text  # `prx tunnel status` imports nothing for it
    from prx_tunnel_core.text import printable_lines

    return printable_lines(text)


def complain(line: str) -> None:
    """To stderr; nobody can be told when that is gone."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"{_harmless(line)}\n")
            sys.stderr.flush()
        except OSError:
            give_up()


def flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def give_up() -> int:
    """Nobody reads any more; the interpreter must not find that out once more at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            os.dup2(null, descriptor)
    os.close(null)
    return BROKEN_PIPE
