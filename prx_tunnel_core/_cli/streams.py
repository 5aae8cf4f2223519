"""Output to standard streams that may be closed, full, a broken pipe, or limited to ASCII."""

from __future__ import annotations

import os
import sys

BROKEN_PIPE = 141  # what shells report for SIGPIPE


def prepare() -> None:
    """Open descriptors 0 to 2 if they are closed; replace characters that cannot be encoded."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # Otherwise a socket may get this number, and print would write to it.
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def write(text: str) -> None:
    """Write to stdout and flush: another program may be waiting for the line."""
    if sys.stdout is not None:
        sys.stdout.write(_harmless(text))
        sys.stdout.flush()


def _harmless(text: str) -> str:
    """The text without control characters, whatever the caller passes."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text  # spares `prx tunnel status` the import
    from prx_tunnel_core.text import printable_lines

    return printable_lines(text)


def complain(line: str) -> None:
    """Write a line to stderr; an error there is ignored."""
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
    """Redirect broken streams to /dev/null, which the interpreter would report at exit."""
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
